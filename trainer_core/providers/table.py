"""The table of platforms: one row each, the first that is recognised counts.

Sources: Kaggle/docker-python 78aaa43, googlecolab/backend-info a724079, runpod/docs a900806, runpod/containers 6990d37,
vast-ai/base-image a7552d1 (all of 2026-07 and 2026-08). No row was compared with a live session.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kept:
    """A folder whose files survive the end of a session, and on what that depends ("" if on nothing)."""

    path: str
    condition: str = ""


@dataclass(frozen=True)
class Limit:
    """What is said of a limit of a platform, and who says so."""

    text: str
    source: str


@dataclass(frozen=True)
class Provider:
    """A platform.

    It is recognised if all variables of one of its `variables` are set, if one of its `files` exists, or if the notebook's
    kernel has loaded `module` and `module_folder` exists. `home` is the folder that Easel uses by default where its parent
    exists, `scratch` the folder for what can be installed again. `secrets` is the module that has the user's secrets.
    """

    id: str
    title: str
    source: str
    variables: tuple[tuple[str, ...], ...] = ()
    files: tuple[str, ...] = ()
    module: str = ""
    module_folder: str = ""
    kept: tuple[Kept, ...] = ()
    lost: str = ""
    home: str = ""
    scratch: str = ""
    secrets: str = ""
    limits: tuple[Limit, ...] = ()
    has_own_python: bool = False
    """Whether the Pythons on PATH belong to the platform's own programs, so that environments get one of their own."""
    is_hosted: bool = True
    """Whether the machine belongs to a platform whose sessions end."""


PROVIDERS = (
    # Before Colab, because the image of Kaggle is made from that of Colab.
    Provider(
        "kaggle",
        "Kaggle",
        "Kaggle/docker-python, Dockerfile.tmpl and patches/kaggle_secrets.py",
        variables=(("KAGGLE_KERNEL_RUN_TYPE",), ("KAGGLE_URL_BASE",)),
        kept=(Kept("/kaggle/working", "the notebook is saved as a version, or its persistence is switched on"),),
        lost="all other folders, such as /kaggle/tmp and the home folder",
        home="/kaggle/working/easel",
        # Engines have 7 GB and more, of the 20 GB that are saved.
        scratch="/tmp/easel",  # noqa: S108 - the one user of the machine
        secrets="kaggle_secrets",
        has_own_python=True,
        limits=(
            Limit("About 30 hours of GPU a week, and 12 hours for a session.", "users' reports; kaggle-cli issue 1151"),
            Limit("20 GB of /kaggle/working are saved; /kaggle/input is read-only.", "users' reports"),
            Limit("Internet must be switched on for the notebook.", "not checked"),
        ),
    ),
    Provider(
        "colab",
        "Colab",
        "googlecolab/backend-info; googlecolab/colabtools, google/colab/userdata.py",
        variables=(("COLAB_RELEASE_TAG",), ("COLAB_BACKEND_VERSION",)),
        module="google.colab",
        module_folder="/content",
        kept=(Kept("/content/drive/MyDrive", "Google Drive is mounted"),),
        lost="every other folder, /content too",
        home="/content/easel",
        secrets="google.colab",
        has_own_python=True,
        limits=(
            Limit(
                "A free session lasts up to about 12 hours, and ends after about 90 minutes without use.",
                "apis.io; Google gives no figures",
            ),
            Limit(
                "Free sessions may not be used for SSH shells, or mainly through another web page than the notebook.",
                "Colab FAQ, as quoted in amitness/colab-cloud issue 1",
            ),
        ),
    ),
    Provider(
        "runpod-serverless",
        "RunPod Serverless",
        "runpod/docs, serverless environment variables",
        variables=(("RUNPOD_ENDPOINT_ID", "RUNPOD_POD_ID"),),
        kept=(Kept("/runpod-volume", "the endpoint has a network volume"),),
        lost="all other folders, when the worker stops",
    ),
    Provider(
        "runpod",
        "RunPod",
        "runpod/docs, pod environment variables; runpod/containers, start.sh",
        variables=(("RUNPOD_POD_ID",),),
        kept=(
            Kept("/workspace", "the pod has a volume, and is stopped, not deleted; a network volume survives that too"),
        ),
        lost="all other folders, when the pod is stopped or edited",
        home="/workspace/easel",
        limits=(
            Limit("The proxy ends a request after 100 seconds.", "runpod/docs"),
            Limit(
                "The official image writes every environment variable to /etc/rp_environment and .bashrc, tokens too.",
                "runpod/containers, start.sh",
            ),
        ),
    ),
    Provider(
        "vast",
        "Vast.ai",
        "vast-ai/base-image, README and boot scripts",
        variables=(("VAST_CONTAINERLABEL",), ("CONTAINER_ID", "CONTAINER_API_KEY")),
        kept=(Kept("/workspace", "the instance is stopped, not destroyed"),),
        lost="everything, when the instance is destroyed",
        home="/workspace/easel",
    ),
    Provider(
        "container",
        "a container",
        "Docker and Podman",
        files=("/.dockerenv", "/run/.containerenv"),
        lost="what lies outside of the volumes of the container, when it is removed",
        is_hosted=False,
    ),
)
LOCAL = Provider("local", "this machine", "no other row", is_hosted=False)
