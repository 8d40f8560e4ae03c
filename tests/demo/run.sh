#!/usr/bin/env bash
# The demonstration: two servers on this machine replicate real backups, both ways.
#
# usage: run.sh DIRECTORY-OF-THE-BINARIES
#
# Everything lives in one temporary directory, which is removed at the end; KEEP=1 keeps it. No privileges needed.
set -euo pipefail

bin=$(cd "${1:?usage: run.sh DIRECTORY-OF-THE-BINARIES}" && pwd)
size_mib=${DEMO_MIB:-160} # of each of the two images
for binary in backup-manager backup-server; do
    [ -x "$bin/$binary" ] || { echo "there is no $bin/$binary; build it first" >&2; exit 1; }
done
unset BACKUP_MANAGER_ROOT PROXMOX_OUTPUT_FORMAT

# Two datastores are 131,072 directories, which some disks take minutes to remove: memory, where there is plenty.
plenty_of_memory() {
    [ -w /dev/shm ] && [ "$(df --output=avail -k /dev/shm | tail -n 1)" -gt 4194304 ] &&
        [ "$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)" -gt 6291456 ]
}
if [ -z "${TMPDIR:-}" ] && plenty_of_memory; then TMPDIR=/dev/shm; fi
demo=$(mktemp -d "${TMPDIR:-/tmp}/backup-replicator-demo.XXXXXX")
server_pids=()
started=$SECONDS

finish() {
    status=$?
    trap - EXIT INT TERM
    for pid in ${server_pids[@]+"${server_pids[@]}"}; do kill "$pid" 2>/dev/null || true; done
    for pid in ${server_pids[@]+"${server_pids[@]}"}; do wait "$pid" 2>/dev/null || true; done
    if [ "$status" -ne 0 ]; then
        echo
        echo "The demonstration failed (exit code $status). The servers' last words:"
        tail -n 5 "$demo"/*.log 2>/dev/null || true
    fi
    if [ "${KEEP:-}" = 1 ]; then
        echo "kept: $demo"
    else
        rm -rf "$demo"
    fi
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

title() { printf '\n== %s\n' "$*"; }
show() { printf '   $ %s\n' "${*//"$demo/"/}"; }
office() { show "backup-manager --root office $*"; "$bin/backup-manager" --root "$demo/office" "$@"; }
vault() { show "backup-manager --root vault $*"; "$bin/backup-manager" --root "$demo/vault" "$@"; }
# The same without showing the command, for values the script needs.
ask() { local site=$1; shift; "$bin/backup-manager" --root "$demo/$site" "$@" --output-format json; }
field() { sed -n "s/.*\"$1\":\"\\([^\"]*\\)\".*/\\1/p"; }
fail() { echo "   NOT AS EXPECTED: $*" >&2; exit 1; }

start_server() { # name -> sets port
    local site=$1 log="$demo/$1.log"
    "$bin/backup-server" --root "$demo/$site" --listen 127.0.0.1:0 >"$log" 2>&1 &
    local pid=$!
    server_pids+=("$pid")
    for _ in $(seq 200); do
        port=$(sed -n 's/^listening on .*:\([0-9][0-9]*\)$/\1/p' "$log")
        [ -n "$port" ] && break
        kill -0 "$pid" 2>/dev/null || fail "server $site ended at once"
        sleep 0.1
    done
    [ -n "$port" ] || fail "server $site is not ready after 20 seconds"
    echo "   server '$site' listens on 127.0.0.1:$port"
}

# A user with a token, the right to ROLE on PATH for both: sets token.
make_token() { # site path role
    head -c 24 /dev/urandom | base64 | tr -d '/+=' | ask "$1" user create sync@pbs --password-file - >/dev/null
    token=$(ask "$1" user generate-token sync@pbs demo | field value)
    [ -n "$token" ] || fail "no token"
    ask "$1" acl update "$2" "$3" --auth-id sync@pbs >/dev/null
    ask "$1" acl update "$2" "$3" --auth-id 'sync@pbs!demo' >/dev/null
}

title "1. Two sites, each with a server and a datastore of its own"
mkdir "$demo/office" "$demo/vault"
office datastore create office "$demo/office/store"
vault datastore create vault "$demo/vault/store"
start_server office; office_port=$port
start_server vault; vault_port=$port

title "2. Real input: two images of $size_mib MiB from this machine's /usr, and two small files"
input="$demo/input"; mkdir "$input"
# head closes the pipe when it has enough, so tar's complaint about that is of no interest.
{ tar -C /usr -cf - lib share 2>/dev/null || true; } | head -c $((size_mib * 3 / 2))M >"$input/all" || true
[ "$(stat -c %s "$input/all")" -ge $((size_mib * 1024 * 1024)) ] || fail "/usr/lib and /usr/share have too little to show"
head -c ${size_mib}M "$input/all" >"$input/desktop.img" # the second half of one image is the first of the other
tail -c ${size_mib}M "$input/all" >"$input/server.img"
rm "$input/all"
cp /etc/os-release "$input/desktop.conf"
cp /etc/passwd "$input/server.conf"
ls -l "$input" | sed '1d; s/^/   /'

backup_both() { # time
    office backup create "desktop.img:$input/desktop.img" "desktop.conf:$input/desktop.conf" \
        --store office --ns desktops --backup-type host --backup-id desk --backup-time "$1" 2>/dev/null
    office backup create "server.img:$input/server.img" "server.conf:$input/server.conf" \
        --store office --ns servers --backup-type vm --backup-id 100 --backup-time "$1" 2>/dev/null
}

title "3. First generation: what the two images share is stored once"
backup_both 2026-01-01T02:00:00Z

title "4. A day passes: a few MiB change. Second generation: only the change is stored"
dd if=/dev/urandom of="$input/desktop.img" bs=1M count=6 seek=$((size_mib / 8)) conv=notrunc status=none
dd if=/dev/urandom of="$input/server.img" bs=1M count=6 seek=$((size_mib * 7 / 8)) conv=notrunc status=none
backup_both 2026-01-02T02:00:00Z
office snapshot list office --ns desktops
office snapshot list office --ns servers

title "5. The office pushes its desktops to the vault"
make_token vault /datastore/vault DatastoreAdmin
fingerprint=$(ask vault cert info | field fingerprint)
show "backup-manager --root office remote create vault --host 127.0.0.1 --port $vault_port --auth-id 'sync@pbs!demo' --password-file - --fingerprint ..."
printf '%s\n' "$token" | ask office remote create vault --host 127.0.0.1 --port "$vault_port" \
    --auth-id 'sync@pbs!demo' --password-file - --fingerprint "$fingerprint"
office sync-job create to-vault --store office --ns desktops --remote vault --remote-store vault --remote-ns desktops \
    --sync-direction push
office sync-job run to-vault

title "6. Once more: nothing to do"
office sync-job run to-vault 2>/dev/null | tee "$demo/again"
grep -q "nothing to do" "$demo/again" || fail "the second push moved something"

title "7. The vault pulls the servers from the office; chunks that the push has brought are not fetched again"
make_token office /datastore/office DatastoreReader
fingerprint=$(ask office cert info | field fingerprint)
show "backup-manager --root vault remote create office --host 127.0.0.1 --port $office_port --auth-id 'sync@pbs!demo' --password-file - --fingerprint ..."
printf '%s\n' "$token" | ask vault remote create office --host 127.0.0.1 --port "$office_port" \
    --auth-id 'sync@pbs!demo' --password-file - --fingerprint "$fingerprint"
vault sync-job create from-office --store vault --ns servers --remote office --remote-store office --remote-ns servers \
    --remove-vanished
vault sync-job run from-office

title "8. Once more: nothing to do"
vault sync-job run from-office 2>/dev/null | tee "$demo/again"
grep -q "nothing to do" "$demo/again" || fail "the second pull moved something"
vault sync-job list

title "9. Every chunk at the vault is read and checked, and files come back"
vault snapshot verify vault
vault restore vm/100/2026-01-02T02:00:00Z server.img "$demo/server.img" --store vault --ns servers
cmp "$input/server.img" "$demo/server.img" || fail "the restored image differs"
vault restore host/desk/2026-01-02T02:00:00Z desktop.conf "$demo/desktop.conf" --store vault --ns desktops
cmp "$input/desktop.conf" "$demo/desktop.conf" || fail "the restored file differs"
echo "   server.img and desktop.conf are byte for byte what was backed up"

chunk_mib() { find "$demo/$1/.chunks" -type f -printf '%s\n' | awk '{ bytes += $1 } END { printf "%d MiB", bytes / 1048576 }'; }
title "Done in $((SECONDS - started)) seconds"
cat <<END
   Backed up:     $((size_mib * 4)) MiB in four snapshots, stored in $(chunk_mib office/store) of chunks at the office
   At the vault:  all four, in $(chunk_mib vault/store) of chunks; two pushed to it, two pulled by it
   Where to look: $demo $([ "${KEEP:-}" = 1 ] || echo "(removed now; KEEP=1 keeps it)")
     office/etc/backup-manager/*.cfg   the settings that the commands above wrote
     vault/store                       a datastore in Proxmox Backup Server's own format
     office.log, vault.log             what the servers said
END
