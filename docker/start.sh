#!/usr/bin/env bash
# Starts a container of Easel (docs/guide/containers.md):
#
#   start.sh notebook        JupyterLab, with sshd if PUBLIC_KEY is set
#   start.sh worker          the worker of RunPod
#   start.sh PROGRAM ...     another program, such as easel
#
# As root it prepares only what needs root, and then starts itself again as the user easel.
set -euo pipefail

readonly suite=/opt/easel
readonly workspace=/workspace
readonly port=8888

say() { printf '%s\n' "$*" >&2; }

stop() {
    say "$@"
    exit 1
}

# The groups of the GPU's device files, so that the user may open them whatever their numbers are on the host.
groups_of_gpu() {
    local file group groups=1000
    for file in /dev/kfd /dev/dri/render* /dev/nvidia*; do
        [ -c "$file" ] || continue
        group=$(stat -c %g "$file")
        case ",$groups,0," in *",$group,"*) ;; *) groups=$groups,$group ;; esac
    done
    printf '%s' "$groups"
}

# Only the folder itself: what is in it may be much, and may be somebody's.
give_workspace() {
    [ "$(stat -c %u "$workspace")" = 0 ] || return 0
    chown 1000:1000 "$workspace" || say "The owner of $workspace could not be changed to the user easel (1000)."
}

# The keys of PUBLIC_KEY, one in a line; fails if a line is none. They are looked at one by one, because ssh-keygen also takes a private key.
public_keys() {
    local line some=
    while IFS= read -r line; do
        line=${line%$'\r'}
        if [[ $line =~ ^[[:space:]]*(#|$) ]]; then continue; fi
        printf '%s\n' "$line" | ssh-keygen -l -f - >/dev/null 2>&1 || return 1
        printf '%s\n' "$line"
        some=yes
    done <<<"${PUBLIC_KEY:-}"
    [ -n "$some" ]
}

# What a session of ssh gets, which inherits nothing from the container; tokens are left out. sshd reads quotation marks in it.
session_variables() {
    local name
    for name in PATH EASEL_HOME HF_HOME UV_CACHE_DIR; do
        if [[ ${!name:-} =~ [\"\\[:cntrl:]] ]]; then
            say "$name has a quotation mark, a backslash or a control character: sessions of ssh do not get it."
        else
            printf '%s="%s" ' "$name" "${!name:-}"
        fi
    done
}

# The key of the host is in memory and new at each start. sshd refuses a file of permitted keys there, because all may write to /dev/shm.
start_sshd() {
    local keys=/run/easel-ssh/authorized_keys given host_key
    if [[ $PUBLIC_KEY == *"PRIVATE KEY"* ]]; then
        unset PUBLIC_KEY
        say "PUBLIC_KEY has a private key, which nobody else should see: make a new pair, and give the file .pub. sshd is not started."
        return 0
    fi
    if ! given=$(public_keys); then
        say "PUBLIC_KEY is not a public key of ssh (such as: ssh-ed25519 AAAA...) in each line, so sshd is not started."
        return 0
    fi
    install -d -m 755 /run/sshd "${keys%/*}"
    rm -f "$keys"
    # sshd reads it as the user, who need not be able to change it.
    (umask 077 && printf '%s\n' "$given" >"$keys")
    chgrp 1000 "$keys"
    chmod 640 "$keys"
    host_key=$(mktemp -d /dev/shm/easel-ssh.XXXXXXXX)/host_key
    ssh-keygen -q -t ed25519 -N '' -C easel -f "$host_key"
    if /usr/sbin/sshd -f "${0%/*}/sshd_config" -o "HostKey=$host_key" -o "AuthorizedKeysFile=$keys" \
        -o "SetEnv=$(session_variables)"; then
        say "sshd: log in as easel. The key of this host: $(ssh-keygen -l -f "$host_key.pub")"
    else
        say "sshd could not be started; its message is above. JupyterLab is started without it."
    fi
}

as_root() {
    export HOME=/home/easel USER=easel LOGNAME=easel
    give_workspace
    if [ "${1:-}" = notebook ] && [ -n "${PUBLIC_KEY:-}" ]; then start_sshd; fi
    exec setpriv --reuid 1000 --regid 1000 --groups "$(groups_of_gpu)" --inh-caps=-all --no-new-privs "$0" "$@"
}

# An engine of the image is used by a link, so that a new image brings a new one; one that was installed in the volume stays.
link_each() {
    local from=$1 to=$2 each link
    mkdir -p "$to"
    for link in "$to"/*; do
        # One of an engine that this image does not have.
        case "$(readlink "$link")" in "$suite"/*) [ -e "$link" ] || rm "$link" ;; esac
    done
    for each in "$from"/*; do
        link=$to/${each##*/}
        if [ -e "$each" ] && [ ! -e "$link" ]; then ln -s "$each" "$link"; fi
    done
}

# The worker's image has no volume: there Easel's folder is the one with the engines.
prepare_home() {
    [ -n "${EASEL_HOME:-}" ] || return 0
    mkdir -p "$EASEL_HOME" 2>/dev/null || return 1
    [ -w "$EASEL_HOME" ] || return 1
    link_each "$suite/workspace/engines" "$EASEL_HOME/engines"
    link_each "$suite/workspace/models/tokenizers" "$EASEL_HOME/models/tokenizers"
}

not_writable() {
    say "The user easel (1000) cannot write to ${EASEL_HOME:-}. Start the container without --user, or: chown 1000:1000 on the host's folder."
}

# Where a browser reaches this JupyterLab, as far as the machine says so.
address() {
    local outside=VAST_TCP_PORT_$port
    if [ -n "${RUNPOD_POD_ID:-}" ]; then
        printf 'https://%s-%s.proxy.runpod.net' "$RUNPOD_POD_ID" "$port"
    elif [ -n "${PUBLIC_IPADDR:-}" ] && [ -n "${!outside:-}" ]; then
        printf 'http://%s:%s' "$PUBLIC_IPADDR" "${!outside}"
    else
        printf 'http://127.0.0.1:%s' "$port"
    fi
}

# JupyterLab reads its token from JUPYTER_TOKEN. An empty one would be no protection, and a short one little: templates of Vast
# set OPEN_BUTTON_TOKEN=1. So there is always one that nobody guesses.
choose_token() {
    local name given chosen='' LC_ALL=C
    for name in JUPYTER_TOKEN JUPYTER_PASSWORD OPEN_BUTTON_TOKEN; do
        given=${!name:-}
        # At its ends, as a file's line break. JupyterLab leaves these out of what is typed, too.
        given=${given#"${given%%[![:space:]]*}"}
        given=${given%"${given##*[![:space:]]}"}
        if [ -z "$given" ] || [ -n "$chosen" ]; then continue; fi
        if [[ $given == *[![:graph:]]* ]]; then
            say "$name has a space or another character that is not a letter, digit or sign of ASCII, and is not used."
        elif [ "${#given}" -lt 8 ]; then
            say "$name has fewer than 8 characters and is not used."
        else
            chosen=$given
            say "JupyterLab: $(address)/lab with the token that $name has."
        fi
    done
    unset JUPYTER_PASSWORD OPEN_BUTTON_TOKEN
    if [ -z "$chosen" ]; then
        chosen=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
        say "JupyterLab: $(address)/lab?token=$chosen (a token for this start, because none was given that can be used)"
    fi
    export JUPYTER_TOKEN=$chosen
}

# A link of the user's own, and a folder, stay. Without the link JupyterLab works too.
show_notebooks() {
    local shown=$workspace/easel-notebooks
    if [[ $(readlink "$shown") == "$suite"/* ]] || { [ ! -e "$shown" ] && [ ! -L "$shown" ]; }; then
        ln -sfn "$suite/notebooks" "$shown" || say "Easel's notebooks cannot be shown in $workspace; they are in $suite/notebooks."
    else
        say "$shown is yours, so Easel's notebooks are not shown there."
    fi
}

notebook() {
    show_notebooks
    # JupyterLab writes its token there. In memory it is not left on a disk.
    JUPYTER_RUNTIME_DIR=$(mktemp -d /dev/shm/easel-jupyter.XXXXXXXX)
    export JUPYTER_RUNTIME_DIR
    choose_token
    local origin=${EASEL_ORIGIN:-}
    if [ -z "$origin" ] && [ -n "${RUNPOD_POD_ID:-}" ]; then origin=$(address); fi
    # Not in the workspace, where JupyterLab would read a configuration that lies there.
    cd "$suite"
    exec jupyter lab --no-browser --ServerApp.ip=0.0.0.0 --ServerApp.port="$port" --ServerApp.port_retries=0 \
        --ServerApp.root_dir="$workspace" --ServerApp.allow_origin="$origin" \
        --LabApp.default_url=/lab/tree/easel-notebooks/LoRA_Trainer.ipynb \
        --PasswordIdentityProvider.allow_password_change=False --FileContentsManager.delete_to_trash=False
}

[ "$(id -u)" != 0 ] || as_root "$@"
[ "$(id -u)" = 1000 ] || stop "This image runs as root, or as the user easel (--user 1000:1000)."
export HOME=/home/easel
case "${1:-}" in
    "") stop "Name what to start: notebook, worker, or a program." ;;
    notebook | worker) prepare_home || { not_writable && exit 1; } ;;
    *) prepare_home || not_writable ;;
esac
case "$1" in
    notebook) notebook ;;
    worker) cd "$suite" && exec python -m trainer_core.remote.worker ;;
    *) exec -- "$@" ;;
esac
