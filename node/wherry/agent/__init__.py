"""The kubelet of Wherry: makes the pods bound to a node real, and tells how they are.

    pods informer --> PodWorker (one task a pod) <-- runtime events, probe results, timers
                        |
       snapshot --> sync_pod() --> actions --> Runtime (cri.py: containerd | hollow.py: memory)
                 +--> render_status() --> PATCH pods/status

All that the agent knows of a pod it reads back from the runtime, from the pod itself and
from its checkpoint of bound pods, so it may die at any line.
"""
