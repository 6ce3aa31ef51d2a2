# Runs on the machine with its sh: $1 says what to do, $2 is the folder of Easel, $3 is the SHA-256 of the archive or an offset.
LC_ALL=C
export LC_ALL
folder=$2
# Beside the folder, so that moving from one to the other copies nothing.
state=$2.incoming
part=$state/$3.tar.gz

alive() {
    pid=$(cat "$state/pid" 2>/dev/null) || return 1
    kill -0 "$pid" 2>/dev/null || return 1
    # After a restart of the machine another process can have the number.
    command -v ps >/dev/null 2>&1 || return 0
    ps -o args= -p "$pid" 2>/dev/null | grep -q installer
}

fail() {
    echo "failed $1"
    echo "end"
    exit 0
}

look() {
    if [ -f "$folder/.easel-sent" ]; then
        echo "kind own"
        echo "sent $(cat "$folder/.easel-sent")"
    elif [ -e "$folder/.git" ]; then
        echo "kind git"
    elif [ -e "$folder" ] && [ -n "$(ls -A "$folder" 2>&1)" ]; then
        echo "kind other"
    else
        echo "kind none"
    fi
    [ -f "$part" ] && echo "part $(wc -c < "$part")"
    for each in tar gzip cat; do command -v "$each" >/dev/null 2>&1 || echo "lacks $each"; done
    mkdir -p "$state" 2>/dev/null || echo "read_only $state"
    df -Pk "$state" 2>/dev/null | awk 'NR == 2 { print "disk_kib " $4 }'
    alive && echo "running yes"
    [ -x "$folder/.venv/bin/python" ] && echo "python $("$folder/.venv/bin/python" -V 2>/dev/null)"
}

hash_of() {
    if command -v sha256sum >/dev/null 2>&1; then sha256sum < "$1" | cut -d ' ' -f 1
    elif command -v shasum >/dev/null 2>&1; then shasum -a 256 < "$1" | cut -d ' ' -f 1
    elif gzip -t "$1" 2>/dev/null; then echo "$2"
    fi
}

unpack() {
    if [ "$(hash_of "$part" "$3")" != "$3" ]; then
        rm -f "$part"
        fail hash
    fi
    rm -rf "$state/new" "$state/old"
    mkdir -p "$state/new" "$state/old" "$folder" || fail "write the folders cannot be made"
    said=$(tar -xzf "$part" -C "$state/new" 2>&1) || fail "write $said"
    # From here on the folder is Easel's, and incomplete until its mark is that of the archive.
    echo incomplete > "$folder/.easel-sent" || fail "write the disk may be full"
    for each in "$state/new"/*; do
        name=${each##*/}
        if [ -e "$folder/$name" ]; then mv "$folder/$name" "$state/old/$name" || fail "write $name cannot be replaced"; fi
        mv "$each" "$folder/$name" || fail "write $name cannot be moved"
    done
    echo "$3" > "$state/mark" && mv "$state/mark" "$folder/.easel-sent" || fail "write the disk may be full"
    rm -rf "$state/new" "$state/old" "$state"/*.tar.gz
}

python_for_installer() {
    for each in python3.12 python3.11 python3.13 python3.14 python3 python; do
        found=$(command -v "$each" 2>/dev/null) || continue
        # The installer runs with 3.8 and later, and fetches a newer one itself.
        "$found" -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null && echo "$found" && return 0
    done
    uv=$(command -v uv 2>/dev/null) || { [ -x "$HOME/.local/bin/uv" ] && uv=$HOME/.local/bin/uv; } || return 1
    "$uv" python find --no-project 3.12 2>/dev/null && return 0
    "$uv" python install --no-bin 3.12 >/dev/null 2>&1 && "$uv" python find --no-project 3.12 2>/dev/null
}

setup() {
    alive && { echo "running yes"; return; }
    python=$(python_for_installer) || fail python
    rm -f "$state/pid" "$state/code" "$state/log"
    : > "$state/log" || fail "write the disk may be full"
    # It goes on if this connection is cut; the next one follows it.
    nohup sh -c 'set -C; echo $$ > "$2/pid" || exit; set +C
        "$1" -u "$3/installer.py" > "$2/log" 2>&1; echo $? > "$2/code.new"; mv "$2/code.new" "$2/code"' \
        sh "$python" "$state" "$folder" installer > /dev/null 2>&1 < /dev/null &
    echo "running yes"
}

follow() {
    count=0
    ended=
    while [ "$count" -lt 8 ]; do
        [ -f "$state/code" ] && ended=$(cat "$state/code") && break
        [ "$(wc -c < "$state/log")" -gt "$3" ] && break
        [ "$count" -gt 2 ] && { alive || { [ -f "$state/code" ] || ended=gone; break; }; }
        sleep 1
        count=$((count + 1))
    done
    [ -n "$ended" ] && echo "ended $ended"
    echo "log"
    tail -c "+$(($3 + 1))" "$state/log" | head -c 65536
}

echo "easel-install 1"
case $1 in
    look) look "$@" ;;
    unpack) unpack "$@" ;;
    setup) setup "$@" ;;
    follow) follow "$@"; exit 0 ;;
esac
echo "end"
