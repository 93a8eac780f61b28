// SPDX-License-Identifier: Apache-2.0

import KubeObjects

/// Everything that a snapshot shows to be wrong, in the order in which one mends it: nodes and what pods need of them,
/// the cluster's components, workloads, their pods, what leads to them.
package enum Judgement {
    package static func findings(_ cluster: ClusterSnapshot) -> [Finding] {
        let index = PodIndex(cluster)
        let judge = PodJudgement(cluster, index)
        var pods: [Finding] = []
        var byPod: [ObjectKey: Finding] = [:]
        for pod in index.pods {
            let found = judge.findings(pod)
            pods += found
            byPod[pod.key] = found.first
        }
        return NodeJudgement.findings(cluster) + PoolJudgement.findings(cluster)
            + ComponentJudgement(cluster: cluster, index: index).findings()
            + WorkloadJudgement(cluster, index, pods: byPod).findings() + pods
            + ServiceJudgement(cluster, index).findings() + IngressJudgement(cluster).findings()
            + CertificateJudgement.ofIngresses(cluster) + DeletionJudgement.findings(cluster)
            + UnheededJudgement.findings(cluster) + WriteJudgement.findings(cluster)
    }
}
