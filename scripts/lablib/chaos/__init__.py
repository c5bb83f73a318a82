"""Failure injection: break one thing of a running lab under load, say what was lost.

The failure contract, by what dies:

    any one master of three     everything goes on; writes resume, p50 < 1 s, worst < 2 s
    every master                pods, Services and names go on; only changes wait
    agent, containerd           pods and traffic go on; what comes back re-adopts them
    a node                      the others go on; the Service forgets the node's pods

and in each case no acknowledged write is lost.
"""
