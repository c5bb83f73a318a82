"""The proxy: Services as iptables rules."""
