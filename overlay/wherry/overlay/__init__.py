"""The overlay network: one subnet lease per node, VXLAN or host-gw routes between them."""
