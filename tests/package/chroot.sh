#!/bin/bash
# The life of the package on a clean machine: chroot.sh PACKAGE.deb
#
# Install, use, upgrade, remove, purge in a fresh Debian root, made with debootstrap from where this machine gets its own
# packages. Needs root. No systemd runs in there; a stand-in for `systemctl` writes down what maintainer scripts ask for.
set -euo pipefail

deb=$(realpath "${1:?usage: chroot.sh PACKAGE.deb}")
if [ "$(id -u)" != 0 ]; then
    echo "package in a clean root: NOT run, it takes root (chroot)"
    exit 0
fi
if [ "${2:-}" != inside ]; then
    # Mounts and processes of the test end with it, whatever happens.
    exec unshare --mount --pid --fork --kill-child "$0" "$deb" inside
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/package.XXXXXX")
root=$work/root
holding=
finish() {
    status=$?
    [ -z "$holding" ] || kill "$holding" 2>/dev/null || true
    umount "$root/proc" 2>/dev/null || true
    rm -rf --one-file-system "$work"
    exit "$status"
}
trap finish EXIT

step() { echo "--- $*"; }
fail() {
    echo "FAILED: $*" >&2
    exit 1
}
in_root() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
apt() { in_root apt-get -q -y --no-install-recommends -o Dpkg::Use-Pty=0 "$@" </dev/null >"$work/apt.log" 2>&1 || { cat "$work/apt.log"; fail "apt-get $*"; }; }
mode() { in_root stat -c '%a %U:%G' "$1"; }
is() { [ "$1" = "$2" ] || fail "$3: \`$1\`, not \`$2\`"; }
asked() { grep -q -- "$1" "$root/systemctl.log" 2>/dev/null; }

step "a clean root"
# shellcheck disable=SC1091
codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
# shellcheck disable=SC2016
mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' | sed -n "s/^$codename //p" | head -n 1)
[ -n "$mirror" ] || fail "the apt sources of this machine have no $codename"
check=
if grep -Eqrsi 'trusted[:=] *yes' /etc/apt/sources.list /etc/apt/sources.list.d; then check=--no-check-gpg; fi
# shellcheck disable=SC2086
debootstrap $check --variant=minbase --include=man-db "$codename" "$root" "$mirror" >"$work/debootstrap.log" 2>&1 ||
    { tail -n 20 "$work/debootstrap.log"; fail "debootstrap"; }
mount -t proc proc "$root/proc"
cat >"$root/usr/bin/systemctl" <<'END'
#!/bin/sh
echo "$@" >>/systemctl.log
for unit; do :; done
case " $* " in
*" is-enabled "*) if ls /etc/systemd/system/*/"$unit" >/dev/null 2>&1; then echo enabled; else echo disabled; exit 1; fi ;;
*" is-active "*) exit 1 ;;
*" preset "* | *" enable "*)
    for target in $(sed -n 's/^WantedBy=//p' "/lib/systemd/system/$unit"); do
        mkdir -p "/etc/systemd/system/$target.wants"
        ln -sf "/lib/systemd/system/$unit" "/etc/systemd/system/$target.wants/$unit"
    done
    ;;
*" disable "*) rm -f /etc/systemd/system/*/"$unit" ;;
esac
END
chmod 755 "$root/usr/bin/systemctl"
mkdir -p "$root/run/systemd/system"

step "install"
cp "$deb" "$root/first.deb"
apt install ./first.deb
for command in backup-manager backup-server; do in_root "$command" --version >/dev/null; done
for page in "$root"/usr/share/man/man[578]/*backup-* "$root"/usr/share/man/man5/*.cfg.5*; do
    file=$(basename "$page" .gz)
    [ -n "$(in_root man "${file##*.}" "${file%.*}" 2>"$work/man.log")" ] || fail "man ${file##*.} ${file%.*}"
    [ ! -s "$work/man.log" ] || fail "$(cat "$work/man.log")"
done
in_root man 5 sync.cfg | grep -q remote-store || fail "man 5 sync.cfg"
is "$(mode /etc/backup-manager)" "700 backup:backup" /etc/backup-manager
is "$(mode /etc/backup-manager/backup-server.conf)" "600 backup:backup" backup-server.conf
is "$(mode /etc/backup-manager/proxy.key)" "600 backup:backup" proxy.key
for dir in /var/lib/backup-manager /var/log/backup-manager/tasks /run/backup-manager /run/backup-manager/requests /run/backup-manager/control /run/backup-manager/locks; do
    is "$(mode $dir)" "750 backup:backup" "$dir"
done
asked "start.*backup-server.service" || fail "the server was not started: $(cat "$root/systemctl.log" "$work/apt.log")"
asked 'start.*backup-manager-scheduler.timer' || fail "the timer was not started"
asked 'start.*backup-manager-requests.path' || fail "requests are not watched"
! asked 'start.*backup-server.socket' || fail "the socket is an alternative, and was started"
[ -L "$root/etc/systemd/system/timers.target.wants/backup-manager-scheduler.timer" ] || fail "the timer is not enabled"
[ ! -L "$root/etc/systemd/system/sockets.target.wants/backup-server.socket" ] || fail "the socket is enabled"

step "use"
in_root backup-manager datastore create tank /srv/tank >/dev/null
in_root backup-manager sync-job create nightly --store tank --remote-store far --remote office --schedule daily >/dev/null 2>&1
fingerprint=$(in_root backup-manager cert info | grep Fingerprint)
is "$(mode /srv/tank/.chunks)" "$(mode /srv/tank/.chunks | cut -d' ' -f1) backup:backup" "owner of a datastore"

step "log"
# Standard error "is the journal": a file of the right number, and a socket where the journal's is.
in_root backup-manager datastore create attic /srv/attic >/dev/null
in_root backup-manager backup create etc.conf:/etc/hostname --store tank --backup-type host --backup-id here >/dev/null
in_root backup-manager sync-job create local --store attic --remote-store tank >/dev/null
touch "$work/stderr"
python3 - "$root/run/systemd/journal/socket" "$work/journal" <<'END' &
import os, socket, sys
os.makedirs(os.path.dirname(sys.argv[1]), exist_ok=True)
journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
journal.settimeout(120)
with open(sys.argv[2], "wb") as seen:
    while True:
        message = journal.recv(1 << 20)
        seen.write(message)
        seen.flush()
        if b"TASK OK" in message:
            break
END
journal=$!
for _ in $(seq 600); do [ ! -S "$root/run/systemd/journal/socket" ] || break; sleep 0.1; done
stream=JOURNAL_STREAM=$(stat -c %d:%i "$work/stderr")
in_root "$stream" backup-manager sync-job run local --scheduled 2>"$work/stderr" || fail "a run: $(cat "$work/stderr" "$work/journal")"
wait "$journal" || fail "the journal did not hear the end of a run: $(cat "$work/stderr")"
grep -aq '^UPID' "$work/journal" || fail "log lines without their UPID: $(head -c 2000 "$work/journal")"
is "$(cat "$work/stderr")" "" "standard error beside the journal"

step "a person and a run at work"
echo "# ours" >>"$root/etc/backup-manager/backup-server.conf"
cp "$root/etc/backup-manager/sync.cfg" "$work/sync.cfg"
conf=$(cat "$root/etc/backup-manager/backup-server.conf")
# A run that is at work: it waits for its input.
mkfifo "$work/password"
in_root backup-manager user create alice@pbs --password-file - <"$work/password" &
holding=$!
exec 9>"$work/password"

step "upgrade"
dpkg-deb -R "$deb" "$work/next"
sed -i 's/^Version: .*/&+next/' "$work/next/DEBIAN/control"
echo "# a new default" >>"$work/next/etc/backup-manager/backup-server.conf"
dpkg-deb --root-owner-group -b "$work/next" "$root/next.deb" >/dev/null
: >"$root/systemctl.log"
apt -o Dpkg::Options::=--force-confdef install ./next.deb
in_root dpkg-query -W -f '${Version}' backup-replicator | grep -q '+next$' || fail "not upgraded"
is "$(cat "$root/etc/backup-manager/backup-server.conf")" "$conf" "an edited conffile"
cmp "$work/sync.cfg" "$root/etc/backup-manager/sync.cfg" || fail "sync.cfg changed"
is "$(in_root backup-manager cert info | grep Fingerprint)" "$fingerprint" "the certificate"
asked 'restart.*backup-server.service' || fail "the server was not restarted"
! asked 'backup-manager-job@' || fail "an upgrade touched running jobs: $(cat "$root/systemctl.log")"
! asked 'stop.*backup-manager-scheduler' || fail "an upgrade stopped the timer: $(cat "$root/systemctl.log")"
kill -0 "$holding" || fail "what was running did not survive the upgrade"
echo "Correct-Horse-1" >&9
exec 9>&-
wait "$holding" || fail "what was running before the upgrade did not end well after it"
holding=
in_root backup-manager user list | grep -q alice@pbs || fail "what was running before the upgrade did not do its work"

step "remove"
: >"$root/systemctl.log"
apt remove backup-replicator
asked 'stop.*backup-manager-job@' || fail "jobs of a removed program were not stopped"
[ ! -e "$root/usr/bin/backup-manager" ] || fail "the program is still there"
is "$(cat "$root/etc/backup-manager/backup-server.conf")" "$conf" "an edited conffile"
cmp "$work/sync.cfg" "$root/etc/backup-manager/sync.cfg" || fail "sync.cfg changed"
apt -o Dpkg::Options::=--force-confdef install ./next.deb
is "$(in_root backup-manager cert info | grep Fingerprint)" "$fingerprint" "the certificate after coming back"

step "purge"
apt purge backup-replicator
left=$(find "$root" -xdev -path "$root/proc" -prune -o \( -iname '*backup-manager*' -o -iname '*backup-server*' -o -iname '*backup-replicator*' \) -print | grep -Ev '/var/(log/(apt|dpkg)|cache/man/)' || true)
is "$left" "" "what a purge left"
[ -d "$root/srv/tank/.chunks/ffff" ] || fail "the datastore is gone"
echo "the package lives and dies well"
