"""Set up Easel and run it, with nothing but Python's standard library.

python installer.py                             create .venv next to this file and the Jupyter kernel "Easel"
python installer.py demo                        ... then train a small LoRA with a real engine
python installer.py test                        ... then run the tests, with the real engines that can be installed
python installer.py lab                         ... then open the notebooks in JupyterLab
python installer.py backend install kohya       install an engine in its own environment; also: verify, remove
python installer.py update                      bring Easel and its engines to their newest versions; --check only says what
python installer.py rollback kohya              go back to an engine from before its update
python installer.py bundle FOLDER               fetch all that a machine without a connection needs; there: --from FOLDER
python installer.py doctor                      show what was found on this machine
python installer.py uninstall                   remove everything except your models, datasets, runs and results
"""

# This file, and what it imports before it finds a newer Python, must run on Python 3.8 and later.
import argparse
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
NEEDED = (3, 11)
PASSED_ON = ("test", "lab")


def parser():
    """The command line parser; options may come before or after the command."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument(
        "--accelerator",
        choices=["auto", "cuda", "rocm", "xpu", "mps", "cpu"],
        help="the type of device to install engines for",
    )
    common.add_argument(
        "--source", action="append", metavar="ENGINE=FOLDER_OR_URL", help="where to get the source code of an engine"
    )
    common.add_argument(
        "--from", "--offline", dest="bundle", metavar="FOLDER", help="install from a bundle, without a connection"
    )
    common.add_argument("--python", metavar="3.12", help="the version of Python to use")
    whole = argparse.ArgumentParser(
        prog="python installer.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
    )
    commands = whole.add_subparsers(dest="command", metavar="command")
    commands.add_parser("setup", parents=[common], help="set up Easel (the same as no command)")
    demo = commands.add_parser("demo", parents=[common], help="train a small LoRA with a real engine")
    demo.add_argument("--backend", metavar="ENGINE", default=None)
    commands.add_parser("test", parents=[common], help="run the tests; other options are passed to pytest")
    commands.add_parser("lab", parents=[common], help="open JupyterLab on this machine; other options are passed to it")
    backend = commands.add_parser("backend", parents=[common], help="install, verify or remove an engine")
    backend.add_argument("action", choices=["install", "verify", "remove"])
    backend.add_argument("engine")
    update = commands.add_parser(
        "update", parents=[common], help="bring Easel and its engines to their newest versions"
    )
    which = update.add_mutually_exclusive_group()
    which.add_argument("--check", action="store_true", help="only say what would be done")
    which.add_argument("--tidy", action="store_true", help="only delete what was kept from before the last update")
    update.add_argument(
        "--here", action="store_true", help="pull nothing: only bring the environments to this folder's pins"
    )
    rollback = commands.add_parser("rollback", parents=[common], help="go back to an engine from before its update")
    rollback.add_argument("engine")
    bundle = commands.add_parser("bundle", parents=[common], help="fetch all that a machine without a connection needs")
    bundle.add_argument("folder")
    bundle.add_argument("--engine", action="append", default=[], help="an engine that is to be in it; may be repeated")
    commands.add_parser("doctor", parents=[common], help="show what was found on this machine")
    uninstall = commands.add_parser(
        "uninstall", parents=[common], help="remove the environments and the Jupyter kernel"
    )
    uninstall.add_argument("--all", action="store_true", help="also remove runs, models, datasets and results")
    uninstall.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    return whole


def read_command_line(arguments):
    """(options, arguments to pass on); ends the program with status 2 on wrong usage."""
    whole = parser()
    options, rest = whole.parse_known_args(arguments)
    if rest and options.command not in PASSED_ON:
        whole.error("unrecognized arguments: " + " ".join(rest))
    for name, default in (("accelerator", "auto"), ("source", []), ("python", None), ("bundle", None)):
        setattr(options, name, getattr(options, name, default))
    sources = {}
    for text in options.source:
        engine, equals, where = text.partition("=")
        if not equals or not where:
            whole.error("--source takes ENGINE=FOLDER_OR_URL, such as ENGINE=/mnt/mirror/engine")
        sources[engine] = where
    options.source, options.packed = sources, {}
    return options, [argument for argument in rest if argument != "--"]


def run_on_newer_python():
    """Restart this program on a Python that Easel supports. Does not return; raises InstallError when there is none."""
    from trainer_core.install import interpreters, uv

    wanted = ["3.12", "3.11", "3.13", "3.14"]
    found = interpreters.find_local(wanted)
    if found is None:
        found = interpreters.find(wanted, uv.ensure_uv(), uv.uv_environment())
    os.execv(str(found.path), [str(found.path), os.path.abspath(__file__)] + sys.argv[1:])


def hand_over(*arguments):
    """Replace this process with the Python of .venv running `arguments`. Does not return."""
    from trainer_core.child import full_environment
    from trainer_core.install.suite import PYTHON, VENV
    from trainer_core.install.uv import kept_settings

    # The programs of .venv come first on PATH, as in an activated environment.
    path = os.pathsep.join([str(VENV / "bin"), os.environ.get("PATH", os.defpath)])
    environment = dict(full_environment(), PATH=path, **kept_settings())
    sys.stdout.flush()
    os.execve(str(PYTHON), [str(PYTHON)] + list(arguments), environment)


def set_up(options, rest):
    """Set up Easel, then print the next steps and advice on Jupyter servers that are already running."""
    from trainer_core.install import jupyter, suite

    changed = suite.set_up(options.python)
    for engine in options.packed:
        install_engine(engine, options)
    print("Easel is ready." if changed else "Easel is ready: there was nothing to do.")
    print("Next: python installer.py demo, or: python installer.py lab")
    for server in jupyter.servers():
        print(jupyter.advice(server))


def demo(options, rest):
    """Set up Easel, then train a small LoRA."""
    from trainer_core.install import suite

    suite.set_up(options.python)
    for engine in options.packed:
        if options.backend in (None, engine):
            install_engine(engine, options)
    arguments = ["--accelerator", options.accelerator]
    if options.backend:
        arguments += ["--backend", options.backend]
    for engine, source in options.source.items():
        arguments += ["--source", "{}={}".format(engine, source)]
    hand_over("-m", "trainer_core.demo", *arguments)


def test(options, rest):
    """Set up Easel, the test tools and the engines that can be installed, then run the tests."""
    from trainer_core.engines import manifest
    from trainer_core.install import environments, suite

    suite.set_up(options.python, dev=True)
    for engine in manifest.installable():
        source = options.source.get(engine)
        if environments.obtainable(engine, source):
            environments.install(engine, options.accelerator, source, tried=False)  # the tests try the optimizers
        else:
            print(
                "Skipped: real training with {0}. Its sources cannot be reached from here; name a mirror with --source {0}=...".format(
                    engine
                )
            )
    os.chdir(HERE)
    hand_over("-m", "pytest", *rest)


def lab(options, rest):
    """Set up Easel, then open JupyterLab for this machine only, with Jupyter's usual access token."""
    from trainer_core.install import notebooks, suite

    suite.set_up(options.python)
    root, words = notebooks.lab_command(suite.PYTHON)
    os.chdir(str(root))
    hand_over(*(words[1:] + rest))


def backend(options, rest):
    """Install, verify or remove an engine."""
    from trainer_core.install import environments

    if options.action == "install":
        install_engine(options.engine, options)
    elif options.action == "verify":
        environments.verify(options.engine)
    elif not environments.remove(options.engine):
        print("{} is not installed.".format(options.engine))


def install_engine(engine, options):
    """Install an engine, from the bundle if there is one."""
    from trainer_core.errors import InstallError
    from trainer_core.install import environments

    packed = options.packed.get(engine, {})
    if options.bundle and not packed:
        message = "The bundle does not contain {}.".format(engine)
        raise InstallError(message, "It has: " + (", ".join(options.packed) or "no engine"))
    found = environments.install(
        engine,
        options.accelerator,
        options.source.get(engine),
        python=packed.get("python", options.python),
        torch=packed.get("torch", ""),
    )
    print("{} {} is installed in {}".format(engine, found.version, found.home))


def use_bundle(options):
    """Let everything come from the bundle that the user names."""
    from pathlib import Path

    from trainer_core.install import from_bundle

    found = from_bundle.use(Path(options.bundle))
    options.python, options.packed = options.python or found.python, found.engines
    for engine in found.engines:
        source = found.source(engine)
        if source:
            options.source.setdefault(engine, source)


def bundle(options, rest):
    """Fetch all that a machine like this one needs to install Easel and engines without a connection."""
    from trainer_core.install import bundling
    from trainer_core.install.kept import size_of
    from trainer_core.places import typed

    folder = typed(options.folder).absolute()
    bundling.make(folder, options.engine, options.accelerator, options.source, options.python)
    print(
        "The bundle is in {} ({:.2f} GB). Copy it and this folder to the other machine, and run there:".format(
            folder, size_of(folder) / 1e9
        )
    )
    print("python installer.py --from FOLDER_OF_THE_BUNDLE")
    return 0


def update(options, rest):
    """Move Easel forward, then bring `.venv`, the engines and the environments of tools to what it pins."""
    from trainer_core.install import updating

    if options.tidy:
        print("Freed up to {:.1f} GB.".format(updating.tidy() / 1e9))
        return 0
    if options.check:
        updating.check(here=options.here or bool(options.bundle))
        return 0
    if not options.here and not options.bundle and updating.pull():
        # The installer that has just arrived does the rest.
        arguments = sys.argv[1:] + ["--here"]
        os.execv(sys.executable, [sys.executable, os.path.abspath(__file__)] + arguments)
    failed = updating.update(options.python, options.source, options.packed)
    for sentence in failed:
        sys.stderr.write("Not updated: " + sentence + "\n")
    if not failed:
        print("Easel is up to date. Restart JupyterLab and its kernels, if they run.")
    return 1 if failed else 0


def rollback(options, rest):
    """Go back to an engine from before its update."""
    from trainer_core.install import environments

    environments.rollback(options.engine)


def doctor(options, rest):
    """Print what was found here: with `easel doctor` if Easel is set up, otherwise only the basic facts."""
    from trainer_core import hardware, places
    from trainer_core.engines import manifest
    from trainer_core.install import environments, jupyter, suite

    if suite.is_whole():
        hand_over("-m", "trainer_core.cli", "doctor")
    for server in jupyter.servers():
        print(jupyter.advice(server))
    machine = hardware.machine(places.home())
    print("Easel is not set up here yet. Run: python installer.py")
    print("Python: {} ({})".format(sys.version.split()[0], sys.executable))
    for device in machine.accelerators:
        print(
            "Accelerator: {} ({}) {} {}".format(device.name, device.kind, device.architecture, device.driver).rstrip()
        )
    print("Memory: {:.1f} GiB free of {:.1f}".format(machine.free_ram_bytes / 2**30, machine.ram_bytes / 2**30))
    print("Disk: {:.1f} GiB free in {}".format(machine.disk_bytes / 2**30, places.home()))
    for engine in manifest.installable():
        found = environments.installed(engine)
        print("{}: {}".format(engine, found.version if found else "not installed"))


def uninstall(options, rest):
    """Remove the environments and the kernel; with --all, also everything else that Easel has written."""
    import shutil

    from trainer_core import places
    from trainer_core.engines import manifest
    from trainer_core.install import environments, in_use, suite

    in_use.refuse_if_used()
    what = "Easel's environment, its Jupyter kernel and its engines"
    if options.all:
        if not is_own(places.home()):
            print("{} is not a folder of Easel's alone, so it is not removed.".format(places.home()))
            print("Leave out --all, and delete there what you no longer need.")
            return 1
        what += ", and EVERYTHING in {}: all runs, models, datasets and results".format(places.home())
    if not options.yes and not agreed("Remove {}? [y/N] ".format(what)):
        print("Nothing was removed.")
        return 1
    for engine in manifest.installable():
        environments.remove(engine)
    for folder in suite.tear_down():
        print("Removed {}.".format(folder))
    # Only uv: a folder with the name tools can be the user's where EASEL_HOME is a folder with other things in it.
    shutil.rmtree(str(places.home() if options.all else places.home() / "tools" / "uv"), ignore_errors=True)
    if not options.all:
        print("Kept: models, datasets, runs and results in {}".format(places.home()))
    return 0


def is_own(folder):
    """Whether a folder can be deleted: not one that contains the user's home or Easel itself, nor a whole disk."""
    inside = [os.path.realpath(path) for path in (os.path.expanduser("~"), HERE)]
    contains = [os.path.commonpath([str(folder), path]) == str(folder) for path in inside]
    return not any(contains) and not os.path.ismount(str(folder))


def agreed(question):
    """Whether the user confirms at the terminal."""
    if not sys.stdin.isatty():
        print("There is no terminal to ask for confirmation: add --yes to continue.")
        return False
    return input(question).strip().lower() in ("y", "yes")


def main():
    """The exit status: 0 done, 1 failed (with a message), 2 wrong usage, 130 interrupted."""
    if os.name == "nt":
        print("Easel does not run on native Windows. Install WSL2 (wsl --install) and run this inside it.")
        return 1
    if sys.version_info < (3, 8):
        print("This is Python {}.{}. Run it with Python 3.11 or newer.".format(*sys.version_info[:2]))
        return 1
    # Show each line as soon as it is written, in a log file as on a terminal.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    options, rest = read_command_line(sys.argv[1:])
    sys.path.insert(0, HERE)
    from trainer_core.errors import EaselError

    try:
        if sys.version_info < NEEDED:
            run_on_newer_python()
        if options.bundle:
            use_bundle(options)
        commands = {
            "demo": demo,
            "test": test,
            "lab": lab,
            "backend": backend,
            "bundle": bundle,
            "update": update,
            "rollback": rollback,
            "doctor": doctor,
            "uninstall": uninstall,
        }
        return commands.get(options.command, set_up)(options, rest) or 0
    except EaselError as error:
        from trainer_core.install.addresses import without_secrets

        sys.stderr.write(without_secrets("\n".join(filter(None, [error.message, error.hint]))) + "\n")
        return 1
    except OSError as error:
        named = "".join(each if each.isprintable() else "?" for each in str(error.filename or "A file"))
        sys.stderr.write("{} cannot be used: {}.\n".format(named, error.strerror or error))
        sys.stderr.write("Check that it exists, its permissions, and the free disk space.\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped. Run the same command again to continue.\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
