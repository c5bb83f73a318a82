#!/usr/bin/env bash
# What every host needs before it can be a master or a node. Sourced by master.sh and node.sh.
#
# Settings, from the environment:
#   WHERRY_NAME       this host's name in the cluster (default: its host name)
#   WHERRY_ADDRESS    the address at which the other hosts reach it (default: the default route's)
#   WHERRY_MIRROR     HOST:PORT of an image registry to use instead of every public one
#
# Safe to run again: each step looks at what is there.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
name=${WHERRY_NAME:-$(hostname | tr '[:upper:]' '[:lower:]')}
address=${WHERRY_ADDRESS:-$(ip -4 -o route get 192.0.2.1 2>/dev/null | sed -n 's/.* src \([0-9.]*\).*/\1/p')}
data=/var/lib/wherry
wherry=$root/.venv/bin/wherry
socket=/run/containerd/containerd.sock

say() { echo "provision: $*"; }
fail() { echo "provision: $*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || fail "run this as root"
[ -n "$address" ] || fail "this host has no default route: set WHERRY_ADDRESS"

has_systemd() { [ -d /run/systemd/system ]; }

install_software() {
  say "Debian packages"
  "$root/scripts/packages" node
  say "Python environment"
  "$root/scripts/env" runtime
}

# The kernel's side: modules (a container or a namespace has them already, or never will) and routing.
prepare_kernel() {
  modprobe --all --quiet overlay br_netfilter vxlan 2>/dev/null || true
  if has_systemd; then
    printf '%s\n' overlay br_netfilter vxlan > /etc/modules-load.d/wherry.conf
    echo net.ipv4.ip_forward=1 > /etc/sysctl.d/90-wherry.conf
  fi
  sysctl -qw net.ipv4.ip_forward=1
}

# containerd as Debian packages it, with what the overlay and the registry mirror need.
configure_containerd() {
  say "containerd"
  mkdir -p /etc/containerd /etc/cni/net.d
  local cgroups=false oom=false
  # On systemd the v2 hierarchy belongs to it; elsewhere containers are plain cgroups.
  if has_systemd && [ -e /sys/fs/cgroup/cgroup.controllers ]; then cgroups=true; fi
  # Without CAP_SYS_RESOURCE (bit 24) runc cannot lower oom_score_adj and every pod would fail.
  (( 0x$(sed -n 's/^CapEff:\s*//p' /proc/self/status) >> 24 & 1 )) || oom=true
  cat > /etc/containerd/config.toml <<CONFIG
version = 2
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.9"
  restrict_oom_score_adj = $oom
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = $cgroups
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/certs.d"
CONFIG
  rm -rf /etc/containerd/certs.d
  mkdir -p /etc/containerd/certs.d
  if [ -n "${WHERRY_MIRROR:-}" ]; then
    mkdir -p /etc/containerd/certs.d/_default
    cat > /etc/containerd/certs.d/_default/hosts.toml <<HOSTS
server = "http://$WHERRY_MIRROR"
[host."http://$WHERRY_MIRROR"]
  capabilities = ["pull", "resolve"]
HOSTS
  fi
  run_service containerd "" /usr/bin/containerd
  wait_until 90 "containerd" test -S "$socket"
}

# Keep a program running: a systemd unit where there is systemd, else a process of its own session
# with a pid file. An empty unit text means that Debian brings the unit.
run_service() {
  local service=$1 unit=$2
  shift 2
  if has_systemd; then
    if [ -n "$unit" ]; then
      echo "$unit" > "/etc/systemd/system/$service.service"
      systemctl daemon-reload
    fi
    systemctl enable --quiet "$service"
    systemctl restart "$service"
    return
  fi
  local pid_file=$data/run/$service.pid log=$data/logs/$service.log pid
  mkdir -p "$data/run" "$data/logs"
  if [ -s "$pid_file" ] && pid=$(cat "$pid_file") &&
     tr '\0' ' ' < "/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "$1"; then
    say "$service runs already (pid $pid)"
    return
  fi
  say "no systemd here: $service runs by itself, its log is $log"
  setsid "$@" >> "$log" 2>&1 < /dev/null &
  echo $! > "$pid_file"
}

# wait_until SECONDS WHAT COMMAND...
wait_until() {
  local seconds=$1 what=$2
  shift 2
  for (( i = 0; i < seconds * 5; i++ )); do
    "$@" >/dev/null 2>&1 && return
    sleep 0.2
  done
  fail "$what did not come up within $seconds s (logs: $data/logs, journalctl)"
}

unit() {
  cat <<UNIT
[Unit]
Description=Wherry: $1
After=network-online.target containerd.service
Wants=network-online.target containerd.service

[Service]
ExecStart=$2
Restart=always
RestartSec=2
# Pods outlive the processes that started them.
KillMode=mixed
Delegate=yes
OOMScoreAdjust=-900

[Install]
WantedBy=multi-user.target
UNIT
}
