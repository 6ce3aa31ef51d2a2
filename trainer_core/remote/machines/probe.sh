# Runs on the machine with its sh: prints one line for each fact, and changes nothing. $1 is the folder of Easel.
LC_ALL=C
export LC_ALL
echo "easel-probe 1"
echo "system $(uname -s) $(uname -m)"
echo "cpus $(getconf _NPROCESSORS_ONLN 2>/dev/null)"
[ -r /proc/meminfo ] && sed -n 's/^MemTotal: *\([0-9]*\) kB/ram_kib \1/p' /proc/meminfo
# The folder need not be there yet, but one above it is.
where=$1
while [ ! -d "$where" ] && [ "$where" != "." ] && [ "$where" != "/" ]; do where=$(dirname "$where"); done
df -Pk "$where" 2>/dev/null | awk 'NR == 2 { print "disk_kib " $4 }'
if [ -d "$where" ] && [ ! -w "$where" ]; then echo "read_only $where"; fi
for each in python3.14 python3.13 python3.12 python3.11 python3; do
    found=$(command -v "$each" 2>/dev/null) || continue
    echo "python $("$found" -c 'import platform; print(platform.python_version())' 2>/dev/null) $found"
done
smi=$(command -v nvidia-smi || true)
[ -z "$smi" ] && [ -x /usr/lib/wsl/lib/nvidia-smi ] && smi=/usr/lib/wsl/lib/nvidia-smi
if [ -n "$smi" ]; then
    if rows=$("$smi" --query-gpu=name,memory.total,memory.free,compute_cap,driver_version --format=csv,noheader,nounits 2>/dev/null); then
        echo "$rows" | sed 's/^/nvidia /'
    else
        echo "nvidia_broken"
    fi
elif [ -e /dev/nvidia0 ]; then
    echo "nvidia_broken"
fi
# As trainer_core/hardware.py finds them on its own machine.
for each in /sys/class/kfd/kfd/topology/nodes/*; do
    gfx=$(sed -n 's/^gfx_target_version //p' "$each/properties" 2>/dev/null)
    case $gfx in '' | 0) continue ;; esac
    card=/sys/class/drm/renderD$(sed -n 's/^drm_render_minor //p' "$each/properties")/device
    total=$(cat "$card/mem_info_vram_total" 2>/dev/null || echo 0)
    used=$(cat "$card/mem_info_vram_used" 2>/dev/null || echo 0)
    echo "amd ${each##*/} $gfx $total $used $(head -c 200 "$card/product_name" 2>/dev/null)"
    { [ -r /dev/kfd ] && [ -w /dev/kfd ]; } || echo "amd_closed"
done
for each in /sys/bus/pci/drivers/xe/*:*; do
    for bytes in "$each/tile0/vram_size_bytes" "$each/tile0/physical_vram_size_bytes"; do
        if [ -r "$bytes" ]; then
            echo "intel ${each##*/}"
            break
        fi
    done
done
own=$1/.venv/bin/python
if [ -x "$own" ]; then
    if version=$("$own" -P -c 'import trainer_core; print(trainer_core.__version__)' 2>/dev/null); then
        echo "easel $version"
    else
        echo "easel_broken"
    fi
fi
for each in git curl; do command -v "$each" >/dev/null 2>&1 && echo "has $each"; done
echo "end"
