"""The lab: a cluster of real processes whose hosts are network namespaces of one machine."""
