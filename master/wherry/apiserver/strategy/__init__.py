"""Strategies: what is special about each kind. Pure; see `base.Strategy`.

A kind that is not in the table has no rules of its own: its metadata is checked, and its
types by the schema. A version that is stored as another (`versions`) has that one's.
"""

from collections.abc import Mapping
from typing import Final

from wherry.api.kinds import Kind
from wherry.apiserver.strategy.admission_policy import (
    AdmissionPolicyBindingStrategy,
    AdmissionPolicyStrategy,
    ValidatingAdmissionPolicyBindingStrategy,
    ValidatingAdmissionPolicyStrategy,
)
from wherry.apiserver.strategy.autoscaling import HorizontalPodAutoscalerStrategy
from wherry.apiserver.strategy.base import Strategy
from wherry.apiserver.strategy.batch import CronJobStrategy, JobStrategy
from wherry.apiserver.strategy.certificate import CertificateSigningRequestStrategy
from wherry.apiserver.strategy.classes import PriorityClassStrategy, RuntimeClassStrategy
from wherry.apiserver.strategy.cluster import (
    LeaseStrategy,
    NetworkConfigStrategy,
    SubnetLeaseStrategy,
)
from wherry.apiserver.strategy.config import ConfigMapStrategy, SecretStrategy
from wherry.apiserver.strategy.devices import (
    DeviceClassStrategy,
    ResourceClaimStrategy,
    ResourceClaimTemplateStrategy,
    ResourceSliceStrategy,
)
from wherry.apiserver.strategy.disruption import PodDisruptionBudgetStrategy
from wherry.apiserver.strategy.endpoints import EndpointSliceStrategy, EndpointsStrategy
from wherry.apiserver.strategy.event import EventStrategy
from wherry.apiserver.strategy.flow_control import (
    FlowSchemaStrategy,
    PriorityLevelConfigurationStrategy,
)
from wherry.apiserver.strategy.namespace import NamespaceStrategy
from wherry.apiserver.strategy.network import (
    IngressClassStrategy,
    IngressStrategy,
    NetworkPolicyStrategy,
)
from wherry.apiserver.strategy.node import NodeStrategy
from wherry.apiserver.strategy.pod import PodStrategy
from wherry.apiserver.strategy.quota import LimitRangeStrategy, ResourceQuotaStrategy
from wherry.apiserver.strategy.rbac import (
    ClusterRoleBindingStrategy,
    ClusterRoleStrategy,
    RoleBindingStrategy,
    RoleStrategy,
)
from wherry.apiserver.strategy.service import ServiceStrategy
from wherry.apiserver.strategy.service_cidr import IPAddressStrategy, ServiceCIDRStrategy
from wherry.apiserver.strategy.stateful_set import ControllerRevisionStrategy, StatefulSetStrategy
from wherry.apiserver.strategy.storage import (
    CSIDriverStrategy,
    CSINodeStrategy,
    CSIStorageCapacityStrategy,
    VolumeAttachmentStrategy,
    VolumeAttributesClassStrategy,
)
from wherry.apiserver.strategy.volume import (
    PersistentVolumeClaimStrategy,
    PersistentVolumeStrategy,
    StorageClassStrategy,
)
from wherry.apiserver.strategy.webhook import (
    APIServiceStrategy,
    MutatingWebhookConfigurationStrategy,
    WebhookConfigurationStrategy,
)
from wherry.apiserver.strategy.workload import (
    DaemonSetStrategy,
    DeploymentStrategy,
    PodTemplateStrategy,
    ReplicaSetStrategy,
    ReplicationControllerStrategy,
)

_ADMISSION = "admissionregistration.k8s.io/v1"
_FLOW = "flowcontrol.apiserver.k8s.io/v1"
_NETWORKING = "networking.k8s.io/v1"
_RBAC = "rbac.authorization.k8s.io/v1"
_RESOURCE = "resource.k8s.io/v1"
_STORAGE = "storage.k8s.io/v1"
_PLAIN: Final = Strategy()
STRATEGIES: Final[Mapping[tuple[str, str], Strategy]] = {
    ("v1", "ConfigMap"): ConfigMapStrategy(),
    ("v1", "Endpoints"): EndpointsStrategy(),
    ("v1", "Event"): EventStrategy(),
    ("v1", "LimitRange"): LimitRangeStrategy(),
    ("v1", "Namespace"): NamespaceStrategy(),
    ("v1", "Node"): NodeStrategy(),
    ("v1", "PersistentVolume"): PersistentVolumeStrategy(),
    ("v1", "PersistentVolumeClaim"): PersistentVolumeClaimStrategy(),
    ("v1", "Pod"): PodStrategy(),
    ("v1", "PodTemplate"): PodTemplateStrategy(),
    ("v1", "ReplicationController"): ReplicationControllerStrategy(),
    ("v1", "ResourceQuota"): ResourceQuotaStrategy(),
    ("v1", "Secret"): SecretStrategy(),
    ("v1", "Service"): ServiceStrategy(),
    ("apps/v1", "ControllerRevision"): ControllerRevisionStrategy(),
    ("apps/v1", "DaemonSet"): DaemonSetStrategy(),
    ("apps/v1", "Deployment"): DeploymentStrategy(),
    ("apps/v1", "ReplicaSet"): ReplicaSetStrategy(),
    ("apps/v1", "StatefulSet"): StatefulSetStrategy(),
    ("autoscaling/v2", "HorizontalPodAutoscaler"): HorizontalPodAutoscalerStrategy(),
    ("batch/v1", "CronJob"): CronJobStrategy(),
    ("batch/v1", "Job"): JobStrategy(),
    ("certificates.k8s.io/v1", "CertificateSigningRequest"): CertificateSigningRequestStrategy(),
    ("coordination.k8s.io/v1", "Lease"): LeaseStrategy(),
    ("discovery.k8s.io/v1", "EndpointSlice"): EndpointSliceStrategy(),
    ("node.k8s.io/v1", "RuntimeClass"): RuntimeClassStrategy(),
    ("policy/v1", "PodDisruptionBudget"): PodDisruptionBudgetStrategy(),
    (_RESOURCE, "DeviceClass"): DeviceClassStrategy(),
    (_RESOURCE, "ResourceClaim"): ResourceClaimStrategy(),
    (_RESOURCE, "ResourceClaimTemplate"): ResourceClaimTemplateStrategy(),
    (_RESOURCE, "ResourceSlice"): ResourceSliceStrategy(),
    ("scheduling.k8s.io/v1", "PriorityClass"): PriorityClassStrategy(),
    ("apiregistration.k8s.io/v1", "APIService"): APIServiceStrategy(),
    (_ADMISSION, "MutatingAdmissionPolicy"): AdmissionPolicyStrategy(),
    (_ADMISSION, "MutatingAdmissionPolicyBinding"): AdmissionPolicyBindingStrategy(),
    (_ADMISSION, "ValidatingAdmissionPolicy"): ValidatingAdmissionPolicyStrategy(),
    (_ADMISSION, "ValidatingAdmissionPolicyBinding"): ValidatingAdmissionPolicyBindingStrategy(),
    (_ADMISSION, "MutatingWebhookConfiguration"): MutatingWebhookConfigurationStrategy(),
    (_ADMISSION, "ValidatingWebhookConfiguration"): WebhookConfigurationStrategy(),
    (_FLOW, "FlowSchema"): FlowSchemaStrategy(),
    (_FLOW, "PriorityLevelConfiguration"): PriorityLevelConfigurationStrategy(),
    (_NETWORKING, "Ingress"): IngressStrategy(),
    (_NETWORKING, "IngressClass"): IngressClassStrategy(),
    (_NETWORKING, "IPAddress"): IPAddressStrategy(),
    (_NETWORKING, "NetworkPolicy"): NetworkPolicyStrategy(),
    (_NETWORKING, "ServiceCIDR"): ServiceCIDRStrategy(),
    (_RBAC, "ClusterRole"): ClusterRoleStrategy(),
    (_RBAC, "ClusterRoleBinding"): ClusterRoleBindingStrategy(),
    (_RBAC, "Role"): RoleStrategy(),
    (_RBAC, "RoleBinding"): RoleBindingStrategy(),
    (_STORAGE, "CSIDriver"): CSIDriverStrategy(),
    (_STORAGE, "CSINode"): CSINodeStrategy(),
    (_STORAGE, "CSIStorageCapacity"): CSIStorageCapacityStrategy(),
    (_STORAGE, "StorageClass"): StorageClassStrategy(),
    (_STORAGE, "VolumeAttachment"): VolumeAttachmentStrategy(),
    (_STORAGE, "VolumeAttributesClass"): VolumeAttributesClassStrategy(),
    ("wherry.io/v1", "NetworkConfig"): NetworkConfigStrategy(),
    ("wherry.io/v1", "SubnetLease"): SubnetLeaseStrategy(),
}


def strategy_for(kind: Kind) -> Strategy:
    """Return the strategy of a kind; one without rules of its own (ServiceAccount) has the base's."""
    return STRATEGIES.get((kind.api_version, kind.kind), _PLAIN)
