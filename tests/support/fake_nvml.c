/* A stand-in for the NVIDIA driver's library, for tests: two whole GPUs, or one that is divided, as a file says.
 *
 * The file "figures" in LD_LIBRARY_PATH is read at each call: "mode used0 used1 pid own". Modes: ok, lost, hang, mig, mixed, none.
 * Build: cc -shared -fPIC -o libnvidia-ml.so.1 fake_nvml.c
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned int gpu, memory; } utilization_t;
typedef struct { unsigned int pid; unsigned long long used; unsigned int gi, ci; } process_t;

static char mode[16];
static unsigned long long used[2], own;
static unsigned int pid;
static int gpus[2], part;

static void load(void) {
    FILE *file;
    char path[4096];
    snprintf(path, sizeof path, "%s/figures", getenv("LD_LIBRARY_PATH"));
    file = fopen(path, "r");
    if (!file) exit(3);
    if (fscanf(file, "%15s %llu %llu %u %llu", mode, &used[0], &used[1], &pid, &own) != 5) strcpy(mode, "none");
    fclose(file);
    while (!strcmp(mode, "hang")) sleep(3600);
}

static int number(void *handle) { return handle == &gpus[1]; }

int nvmlInit_v2(void) { load(); return strcmp(mode, "none") ? 0 : 9; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **handle) { *handle = &gpus[index]; return 0; }
int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    if (!strcmp(uuid, "MIG-part")) *handle = &part; else return 6;
    return 0;
}
int nvmlDeviceGetName(void *handle, char *name, unsigned int size) {
    load();
    snprintf(name, size, "%s", handle == &part ? "NVIDIA A100 MIG 1g.5gb"
             : number(handle) && !strcmp(mode, "mixed") ? "NVIDIA RTX 3060" : "NVIDIA RTX 4090");
    return 0;
}
int nvmlDeviceGetUUID(void *handle, char *uuid, unsigned int size) {
    snprintf(uuid, size, "%s", handle == &part ? "MIG-part" : number(handle) ? "GPU-bbbb" : "GPU-aaaa");
    return 0;
}
int nvmlDeviceGetMemoryInfo(void *handle, memory_t *memory) {
    load();
    if (!strcmp(mode, "lost")) return 15;
    memory->total = (handle == &part ? 5ull : 24ull) << 30;
    memory->used = used[handle == &part ? 0 : number(handle)];
    memory->free = memory->total - memory->used;
    return 0;
}
int nvmlDeviceGetUtilizationRates(void *handle, utilization_t *load_) {
    if (handle == &part) return 3;
    load_->gpu = 90 + number(handle);
    return 0;
}
int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned int *celsius) {
    if (handle == &part || sensor != 0) return 3;
    *celsius = 70 + number(handle);
    return 0;
}
int nvmlDeviceGetPowerUsage(void *handle, unsigned int *milliwatts) { *milliwatts = 320500; return handle == &part ? 3 : 0; }
int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned int *count, process_t *rows) {
    if (number(handle)) { *count = 0; return 0; }
    rows[0].pid = pid; rows[0].used = own;
    rows[1].pid = 1; rows[1].used = 1 << 20;
    rows[2].pid = 2; rows[2].used = ~0ull;
    *count = 3;
    return 0;
}
int nvmlDeviceGetMigMode(void *handle, unsigned int *now, unsigned int *later) {
    *now = *later = !strcmp(mode, "mig") && handle == &gpus[0];
    return 0;
}
int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned int *count) { *count = 7; return 0; }
int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned int index, void **found) {
    *found = &part;
    return index ? 6 : 0;
}
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(void *handle, void **found) { *found = &gpus[0]; return 0; }
