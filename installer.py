"""Set Easel up and run it, with nothing but Python's standard library.

python installer.py                             set up: .venv beside this file, and the Jupyter kernel "Easel"
python installer.py demo                        ... and train a small LoRA with a real engine
python installer.py test                        ... and run the tests, with real engines where they can be had
python installer.py lab                         ... and open the notebooks in JupyterLab
python installer.py backend install kohya       an engine, in an environment of its own; also: verify, remove
python installer.py doctor                      what was found on this machine
python installer.py uninstall                   take everything away again, except your models, datasets and results
"""

# This file, and what it imports before it has found a newer Python, is read by Pythons from 3.8 on.
import argparse
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
NEEDED = (3, 11)
ENGINES = ("kohya", "simpletuner")
PASSED_ON = ("test", "lab")


def parser():
    """The command line; options may stand before or after the command."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument(
        "--accelerator", choices=["auto", "cuda", "rocm", "xpu", "cpu"], help="what engines are installed for"
    )
    common.add_argument(
        "--source", action="append", metavar="ENGINE=FOLDER_OR_URL", help="where to take an engine's sources from"
    )
    common.add_argument("--python", metavar="3.12", help="the version of Python to use")
    whole = argparse.ArgumentParser(
        prog="python installer.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
    )
    commands = whole.add_subparsers(dest="command", metavar="command")
    commands.add_parser("setup", parents=[common], help="set up (the same as no command)")
    demo = commands.add_parser("demo", parents=[common], help="train a small LoRA with a real engine")
    demo.add_argument("--backend", choices=ENGINES, default=None)
    commands.add_parser("test", parents=[common], help="run the tests; more options go to pytest")
    commands.add_parser("lab", parents=[common], help="open JupyterLab on this machine; more options go to it")
    backend = commands.add_parser("backend", parents=[common], help="install, verify or remove an engine")
    backend.add_argument("action", choices=["install", "verify", "remove"])
    backend.add_argument("engine")
    commands.add_parser("doctor", parents=[common], help="say what was found on this machine")
    uninstall = commands.add_parser("uninstall", parents=[common], help="remove the environments and the kernel")
    uninstall.add_argument("--all", action="store_true", help="remove runs, models, datasets and results too")
    uninstall.add_argument("--yes", action="store_true", help="do not ask")
    return whole


def read_command_line(arguments):
    """(options, what to pass on); ends the program with status 2 on wrong use."""
    whole = parser()
    options, rest = whole.parse_known_args(arguments)
    if rest and options.command not in PASSED_ON:
        whole.error("unrecognized arguments: " + " ".join(rest))
    for name, default in (("accelerator", "auto"), ("source", []), ("python", None)):
        setattr(options, name, getattr(options, name, default))
    sources = {}
    for text in options.source:
        engine, equals, where = text.partition("=")
        if not equals or not where:
            whole.error("--source takes ENGINE=FOLDER_OR_URL, such as kohya=/mnt/mirror/sd-scripts")
        sources[engine] = where
    options.source = sources
    return options, [argument for argument in rest if argument != "--"]


def run_on_newer_python():
    """Start this again on a Python that Easel can use; returns only when there is none."""
    from trainer_core import interpreters, uv

    wanted = ["3.12", "3.11", "3.13", "3.14"]
    found = interpreters.find_local(wanted)
    if found is None:
        found = interpreters.find(wanted, uv.ensure_uv(), uv.uv_environment())
    os.execv(str(found.path), [str(found.path), os.path.abspath(__file__)] + sys.argv[1:])


def hand_over(*arguments):
    """Become the Python of .venv running `arguments`; does not return."""
    from trainer_core.child import child_environment
    from trainer_core.suite import PYTHON, VENV
    from trainer_core.uv import kept_settings

    # The tools of .venv come first on PATH, as if it had been activated.
    path = os.pathsep.join([str(VENV / "bin"), os.environ.get("PATH", os.defpath)])
    environment = dict(child_environment(), PATH=path, **kept_settings())
    sys.stdout.flush()
    os.execve(str(PYTHON), [str(PYTHON)] + list(arguments), environment)


def set_up(options, rest):
    """Set up, then say how to go on and what is with the Jupyter servers that run here already."""
    from trainer_core import jupyter, suite

    changed = suite.set_up(options.python)
    print("Easel is ready." if changed else "Easel is ready: there was nothing to do.")
    print("Next: python installer.py demo, or: python installer.py lab")
    for server in jupyter.servers():
        print(jupyter.advice(server))


def demo(options, rest):
    """Set up, then train a small LoRA."""
    from trainer_core import suite

    suite.set_up(options.python)
    arguments = ["--accelerator", options.accelerator]
    if options.backend:
        arguments += ["--backend", options.backend]
    source = options.source.get(options.backend or "kohya")
    if source:
        arguments += ["--source", source]
    hand_over("-m", "trainer_core.demo", *arguments)


def test(options, rest):
    """Set up with the test tools and the engines that can be had, then run the tests."""
    from trainer_core import environments, suite

    suite.set_up(options.python, dev=True)
    for engine in ENGINES:
        source = options.source.get(engine)
        if environments.obtainable(engine, source):
            environments.install(engine, options.accelerator, source, tried=False)  # the tests do it
        else:
            print(
                "Skipped: real training with {0}, whose sources cannot be reached from here (--source {0}=... names a mirror).".format(
                    engine
                )
            )
    os.chdir(HERE)
    hand_over("-m", "pytest", *rest)


def lab(options, rest):
    """Set up, then open JupyterLab for this machine alone, with its usual token."""
    from trainer_core import suite

    suite.set_up(options.python)
    os.chdir(HERE)
    arguments = ["-m", "jupyterlab", "--ServerApp.ip=127.0.0.1"]
    if os.geteuid() == 0:
        # Containers and rented machines have no other user, and Jupyter refuses root unless told.
        arguments.append("--allow-root")
    # A file as an argument opens in a browser that is here; the address that is printed would not lead to it.
    arguments.append("--LabApp.default_url=/lab/tree/notebooks/LoRA_Trainer.ipynb")
    arguments += rest
    hand_over(*arguments)


def backend(options, rest):
    """Install, verify or remove an engine."""
    from trainer_core import environments

    if options.action == "install":
        source = options.source.get(options.engine)
        found = environments.install(options.engine, options.accelerator, source, python=options.python)
        print("{} {} is installed in {}".format(options.engine, found.version, found.home))
    elif options.action == "verify":
        environments.verify(options.engine)
    elif not environments.remove(options.engine):
        print("{} is not installed.".format(options.engine))


def doctor(options, rest):
    """Say what was found here: Easel's own doctor where it is set up, else the plain facts."""
    from trainer_core import environments, hardware, jupyter, places, suite

    for server in jupyter.servers():
        print(jupyter.advice(server))
    if suite.is_whole():
        hand_over("-m", "trainer_core.cli", "doctor")
    machine = hardware.machine(places.home())
    print("Easel is not set up here yet. Run: python installer.py")
    print("Python: {} ({})".format(sys.version.split()[0], sys.executable))
    for device in machine.accelerators:
        print(
            "Accelerator: {} ({}) {} {}".format(device.name, device.kind, device.architecture, device.driver).rstrip()
        )
    print("Memory: {:.1f} GiB free of {:.1f}".format(machine.free_ram_bytes / 2**30, machine.ram_bytes / 2**30))
    print("Disk: {:.1f} GiB free in {}".format(machine.disk_bytes / 2**30, places.home()))
    for engine in ENGINES:
        found = environments.installed(engine)
        print("{}: {}".format(engine, found.version if found else "not installed"))


def uninstall(options, rest):
    """Remove the environments and the kernel; with --all also everything else that Easel has written."""
    import shutil

    from trainer_core import engine_table, environments, places, suite

    doomed = "Easel's environment, its Jupyter kernel and its engines"
    if options.all:
        doomed += ", and ALL runs, models, datasets and results in {}".format(places.home())
    if not options.yes and not agreed("Remove {}? [y/N] ".format(doomed)):
        print("Nothing was removed.")
        return 1
    for engine in engine_table.installable():
        environments.remove(engine)
    for folder in suite.tear_down():
        print("Removed {}.".format(folder))
    shutil.rmtree(str(places.home() if options.all else places.home() / "tools"), ignore_errors=True)
    if not options.all:
        print("Kept: models, datasets, runs and results in {}".format(places.home()))
    return 0


def agreed(question):
    """True when a person at the terminal says yes."""
    if not sys.stdin.isatty():
        print("There is no one to ask: add --yes to go on.")
        return False
    return input(question).strip().lower() in ("y", "yes")


def main():
    """The exit status: 0 done, 1 something stands in the way (said in a sentence), 2 wrong use."""
    if os.name == "nt":
        print("Easel does not run on native Windows. Install WSL2 (wsl --install) and run this inside it.")
        return 1
    if sys.version_info < (3, 8):
        print("This is Python {}.{}. Run it with Python 3.11 or newer.".format(*sys.version_info[:2]))
        return 1
    # Each line is seen when it is written, in a log file as on a terminal.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    options, rest = read_command_line(sys.argv[1:])
    sys.path.insert(0, HERE)
    from trainer_core.errors import EaselError

    try:
        if sys.version_info < NEEDED:
            run_on_newer_python()
        commands = {
            "demo": demo,
            "test": test,
            "lab": lab,
            "backend": backend,
            "doctor": doctor,
            "uninstall": uninstall,
        }
        return commands.get(options.command, set_up)(options, rest) or 0
    except EaselError as error:
        sys.stderr.write("\n".join(filter(None, [error.message, error.hint])) + "\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped. Run the same command again to go on.\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
