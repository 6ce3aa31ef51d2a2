"""Messages of torch, the Hugging Face Hub and the operating system, known on every engine. Wordings from their sources."""

from __future__ import annotations

import pytest

from trainer_core.engines import diagnosis, registry

ENGINES = [backend.manifest for backend in registry.available()]
IDS = [manifest.id for manifest in ENGINES]
SAVING = 'File "/venv/site-packages/safetensors/torch.py", line 323, in save_file'
LOADING = 'File "/venv/site-packages/safetensors/torch.py", line 313, in load_file'


def traceback(says: str, frame: str = 'File "train.py", line 1913, in <module>') -> list[str]:
    return ["steps:  20%|##| 2/9 [00:02<00:07]", "Traceback (most recent call last):", f"  {frame}", *says.splitlines()]


GATED = """\
huggingface_hub.errors.GatedRepoError: 403 Client Error. (Request ID: Root=1-66f4b037)

Cannot access gated repo for url https://huggingface.co/black-forest-labs/FLUX.1-dev/resolve/main/ae.safetensors.
Access to model black-forest-labs/FLUX.1-dev is restricted and you are not in the authorized list."""
NOT_GATED = """\
huggingface_hub.errors.RepositoryNotFoundError: 401 Client Error. (Request ID: Root=1-66f4b037)

Repository Not Found for url: https://huggingface.co/a/b/resolve/main/x.safetensors.
Please make sure you specified the correct `repo_id` and `repo_type`.
If you are trying to access a private or gated repo, make sure you are authenticated."""
WORKER = "RuntimeError: DataLoader worker (pid 22289) is killed by signal: "
SERIALIZE = "safetensors_rust.SafetensorError: Error while serializing: "
SERIALIZE_8 = "safetensors._safetensors_rust.SafetensorError: Error while serializing: I/O error: "
DESERIALIZE = "safetensors_rust.SafetensorError: Error while deserializing header: "

CAUSES = [
    # Saving. Recorded: safetensors 0.4.5 and 0.8.0, torch 2.10.0 and 2.14.0, on a full file system, /proc and /sys.
    (
        SERIALIZE + 'IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })',
        SAVING,
        "disk-full",
    ),
    (SERIALIZE_8 + "No space left on device (os error 28)", SAVING, "disk-full"),
    (SERIALIZE_8 + "Disk quota exceeded (os error 122)", SAVING, "disk-full"),
    ("OSError: [Errno 28] No space left on device: 'a.npz'", 'File "a.py", line 9, in load_weights', "disk-full"),
    ("OSError: [WinError 112] Es steht nicht genug Speicherplatz zur Verfügung", SAVING, "disk-full"),
    ("RuntimeError: [enforce fail at inline_container.cc:668] . unexpected pos 576 vs 534", SAVING, "save-failed"),
    (
        SERIALIZE + 'IoError(Os { code: 13, kind: PermissionDenied, message: "Permission denied" })',
        SAVING,
        "file-locked",
    ),
    (SERIALIZE_8 + 'Permission denied (os error 13) at path "/out/.tmp6kEXFg"', SAVING, "file-locked"),
    ("PermissionError: [WinError 32] The process cannot access the file", SAVING, "file-locked"),
    (SERIALIZE_8 + "user-mapped section open. (os error 1224)", SAVING, "file-locked"),
    (SERIALIZE_8 + "Read-only file system (os error 30)", SAVING, "disk-read-only"),
    (SERIALIZE_8 + "File too large (os error 27)", SAVING, "file-too-large"),
    ("RuntimeError: Parent directory /nowhere does not exist.", SAVING, "folder-gone"),
    (SERIALIZE_8 + 'No such file or directory (os error 2) at path "/out/.tmpFw9Ugq"', SAVING, "folder-gone"),
    # Loading.
    ("PermissionError: [Errno 13] Permission denied: '/m/a.safetensors'", LOADING, "file-forbidden"),
    (DESERIALIZE + "HeaderTooLarge", LOADING, "model-damaged"),
    (DESERIALIZE + "incomplete metadata, file not fully covered", LOADING, "model-damaged"),
    (DESERIALIZE + "MetadataIncompleteBuffer", 'File "a.py", line 9, in load_accelerator_state', "state-damaged"),
    ("RuntimeError: PytorchStreamReader failed reading zip archive: failed finding", LOADING, "model-damaged"),
    ("zipfile.BadZipFile: File is not a zip file", 'File "a.py", line 9, in load_latents_from_disk', "cache-damaged"),
    ("_pickle.UnpicklingError: Weights only load failed.\n\nUnsupported operand 60", LOADING, "model-page"),
    ("RuntimeError: unable to mmap 687 bytes from file </m/a.pt>: Cannot allocate memory (12)", LOADING, "memory"),
    ("RuntimeError: unable to mmap 687 bytes from file </m/a.pt>: Invalid argument (22)", LOADING, "mmap"),
    ("OSError: No such device (os error 19)", LOADING, "mmap"),
    ("OSError: [Errno 5] Input/output error", LOADING, "disk-error"),
    # Memory of the GPU.
    ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "", "gpu-memory"),
    ("torch.cuda.OutOfMemoryError: HIP out of memory. Tried to allocate 2.00 GiB.", "", "gpu-memory"),
    ("RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 7.79 GiB total)", "", "gpu-memory"),
    ("torch.AcceleratorError: CUDA error: out of memory\nCUDA kernel errors might be", "", "gpu-memory"),
    ("RuntimeError: CUDA driver error: out of memory", "", "gpu-memory"),
    ("RuntimeError: HIP error: out of memory", "", "gpu-memory"),
    ("RuntimeError: cuDNN error: CUDNN_STATUS_ALLOC_FAILED", "", "gpu-memory"),
    ("RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "", "gpu-memory"),
    ("RuntimeError: CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling", "", "gpu-memory"),
    ("torch.OutOfMemoryError: XPU out of memory. Tried to allocate 4.66 GiB.", "", "gpu-memory"),
    (
        "RuntimeError: Native API failed. Native API returns: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)",
        "",
        "gpu-memory",
    ),
    ("RuntimeError: MPS backend out of memory (MPS allocated: 8.00 GiB)", "", "gpu-memory"),
    # In a container, torch lists itself as another process.
    (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 23.64 GiB of which 9.81 MiB is free. Process 31337 has 23.62 GiB memory in use. Of the allocated memory 22.60 GiB is allocated by PyTorch",
        "",
        "gpu-memory",
    ),
    # Memory of the machine.
    (
        "RuntimeError: [enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory",
        "",
        "memory",
    ),
    ("MemoryError", "", "memory"),
    ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 128. TiB for an array", "", "memory"),
    ("MemoryError: Cannot allocate memory (os error 12)", LOADING, "memory"),
    ("OSError: The paging file is too small for this operation to complete. (os error 1455)", LOADING, "memory"),
    (WORKER + "Killed. ", "", "out-of-memory"),
    ("Killed", "", "out-of-memory"),
    ("/bin/sh: line 1:  4711 Killed                  python train.py", "", "out-of-memory"),
    # Shared memory.
    ("Bus error (core dumped)", "", "bus-error"),
    (WORKER + "Bus error. It is possible that dataloader's workers are out of shared memory.", "", "shared-memory"),
    ("RuntimeError: unable to write to file </torch_77_88_0>: No space left on device (28)", "", "shared-memory"),
    (
        "OSError: [Errno 28] No space left on device",
        'File "/usr/lib/python3.11/multiprocessing/synchronize.py", line 57, in __init__',
        "shared-memory-locks",
    ),
    # The Hub.
    (GATED, "", "hub-gated"),
    ("OSError: You are trying to access a gated repo.\nMake sure to have access to it at", "", "hub-gated"),
    (NOT_GATED, "", "hub-repository"),
    (
        "requests.exceptions.HTTPError: 401 Client Error: Unauthorized for url: https://huggingface.co/a",
        "",
        "hub-login",
    ),
    ("httpx.HTTPError: 429 Too Many Requests for url: https://huggingface.co/a", "", "hub-busy"),
    ("huggingface_hub.errors.LocalEntryNotFoundError: An error happened while trying", "", "hub-unreachable"),
    # The driver and the GPU.
    ("RuntimeError: The NVIDIA driver on your system is too old (found version 11040).", "", "driver-too-old"),
    ("RuntimeError: CUDA error: CUDA driver version is insufficient for CUDA runtime version", "", "driver-too-old"),
    ("RuntimeError: CUDA error: the provided PTX was compiled with an unsupported toolchain.", "", "driver-too-old"),
    (
        "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 803: system has unsupported display driver / cuda driver combination",
        "",
        "driver-mismatch",
    ),
    ("RuntimeError: No CUDA GPUs are available", "", "no-gpu"),
    ("AssertionError: Torch not compiled with CUDA enabled", "", "torch-without-gpu"),
    (
        "torch.AcceleratorError: CUDA error: no kernel image is available for execution on the device",
        "",
        "gpu-too-new-or-old",
    ),
    # They look like too little memory, and are not.
    ("RuntimeError: CUDA error: an illegal memory access was encountered", "", "gpu-fault"),
    (
        "triton.runtime.errors.OutOfResources: out of resource: shared memory, Required: 114688",
        "",
        "compilation-failed",
    ),
    # Packages.
    (
        "ImportError: tokenizers>=0.21,<0.22 is required for a normal functioning of this module, but found tokenizers==0.20.0.",
        "",
        "package-mismatch",
    ),
    ("ImportError: cannot import name 'cached_download' from 'huggingface_hub'", "", "package-mismatch"),
    ("RuntimeError: operator torchvision::nms does not exist", "", "package-mismatch"),
    ("OSError: /venv/a.so: undefined symbol: _ZNK3c105Error4whatEv", "", "package-mismatch"),
    ("ModuleNotFoundError: No module named 'einops'", "", "package-missing"),
    (
        "RuntimeError: Attempted to use bitsandbytes native library functionality but it's not available.",
        "",
        "bitsandbytes-broken",
    ),
    ("AttributeError: module 'numpy' has no attribute 'float'.", "", "numpy-mismatch"),
    # Settings.
    (
        "RuntimeError: Setting different lr values in different parameter groups is only supported for values of 0",
        "",
        "learning-rates-differ",
    ),
    ("ValueError: Attempting to unscale FP16 gradients.", "", "fp16-gradients"),
    ("ValueError: num_samples should be a positive integer value, but got num_samples=0", "", "no-samples"),
]


@pytest.mark.parametrize(("says", "frame", "name"), CAUSES, ids=[f"{case[2]}: {case[0][:30]}" for case in CAUSES])
@pytest.mark.parametrize("manifest", ENGINES, ids=IDS)
def test_each_is_known_on_every_engine(manifest, says, frame, name):
    found = diagnosis.explain(traceback(says, frame or LOADING), manifest.diagnosis, 1)
    assert found is not None
    assert found.id == name
    assert "{" not in found.advice


@pytest.mark.parametrize("manifest", ENGINES, ids=IDS)
def test_a_cause_outranks_what_follows_from_it(manifest):
    """diffusers reports a gated repository as a missing one, and a loader its worker's end as an exit."""
    direct = "The above exception was the direct cause of the following exception:"
    missing = "OSError: a/b is not a local folder and is not a valid model identifier listed on"
    exited = "RuntimeError: DataLoader worker (pid(s) 22289) exited unexpectedly"
    for first, then, name in [(GATED, missing, "hub-gated"), (WORKER + "Killed. ", exited, "out-of-memory")]:
        lines = [*traceback(first), direct, *traceback(then)[1:]]
        assert getattr(diagnosis.explain(lines, manifest.diagnosis, 1), "id", None) == name


@pytest.mark.parametrize(
    "line",
    [
        # Messages that look like one of the causes and are none.
        "RuntimeError: cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
        "RuntimeError: CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "ImportError: libgomp.so.1: cannot allocate memory in static TLS block",
        "requests.exceptions.HTTPError: 401 Client Error: Unauthorized for url: https://api.wandb.ai/graphql",
        "OddError: a reader was Killed",
        "safetensors_rust.SafetensorError: File does not contain tensor lora_unet_down",
    ],
)
@pytest.mark.parametrize("manifest", ENGINES, ids=IDS)
def test_what_only_looks_like_a_cause_stays_unknown(manifest, line):
    assert getattr(diagnosis.explain(traceback(line), manifest.diagnosis, 1), "id", None) == "unknown"


@pytest.mark.parametrize(
    "line",
    [
        "UserWarning: CUDA initialization: The NVIDIA driver on your system is too old (found version 11040).",
        "[RANK 0] 2026-11-20 12:17:59,137 [WARNING] Error generating validation image: CUDA out of memory.",
        "2026-11-20 12:06:46 INFO     prompt: No space left on device",
        "Failed to load CPU gemm_4bit_forward from kernels-community",
    ],
)
@pytest.mark.parametrize("manifest", ENGINES, ids=IDS)
def test_a_line_of_a_success_is_no_cause(manifest, line):
    assert diagnosis.explain([line, "steps: 100%|##| 9/9 [00:09<00:00]"], manifest.diagnosis, None) is None
    assert diagnosis.explain(["steps: 100%|##| 9/9 [00:09<00:00]", line], manifest.diagnosis, None) is None


def test_bitsandbytes_prints_its_own_error_and_exits():
    line = "Error out of memory at line 88 in file /src/csrc/ops.cu"
    for manifest in ENGINES:
        assert getattr(diagnosis.explain([line], manifest.diagnosis, 1), "id", None) == "gpu-memory"
