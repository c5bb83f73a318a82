#!/usr/bin/env bash
# Makes this host a cluster of its own: master and node. More nodes join it by node.sh.
# Settings: see common.sh. At the end it prints what a node needs to join.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

install_software
prepare_kernel
configure_containerd

say "Wherry: master and node $name at $address"
command=("$wherry" up --role master --role node --runtime cri --name "$name" --address "$address"
  --master "$name=$address" --data-dir "$data" --runtime-endpoint "unix://$socket")
run_service wherry "$(unit "master and node" "${command[*]}")" "${command[@]}"

kubectl=(kubectl --kubeconfig "$data/admin.kubeconfig")
wait_until 180 "the API server" "${kubectl[@]}" get --raw /readyz
wait_until 180 "node $name" "${kubectl[@]}" wait --for=condition=Ready "node/$name" --timeout=1s

say "ready; the administrator's kubeconfig is $data/admin.kubeconfig"
say "a node joins with: WHERRY_MASTER=$address WHERRY_TOKEN=$(cat "$data/join.token") scripts/provision/node.sh"
