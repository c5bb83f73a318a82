#!/usr/bin/env bash
# Makes this host a node of a running cluster.
# Settings: see common.sh, and
#   WHERRY_MASTER       address of a master
#   WHERRY_TOKEN        the master's join token (on it: /var/lib/wherry/join.token), or
#   WHERRY_TOKEN_FILE   a file that holds it
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

master=${WHERRY_MASTER:?set WHERRY_MASTER to the address of a master}
token=${WHERRY_TOKEN:-$(cat "${WHERRY_TOKEN_FILE:?set WHERRY_TOKEN or WHERRY_TOKEN_FILE}")}
[ -n "$token" ] || fail "the join token is empty"

install_software
prepare_kernel
configure_containerd

say "joining the cluster of $master as $name"
"$wherry" join "$token" --server "$master" --name "$name" --address "$address" --dir "$data"

say "Wherry: node $name at $address"
command=("$wherry" up --role node --runtime cri --name "$name" --address "$address"
  --data-dir "$data" --runtime-endpoint "unix://$socket")
run_service wherry "$(unit "node" "${command[*]}")" "${command[@]}"
say "done; on the master: kubectl get nodes"
