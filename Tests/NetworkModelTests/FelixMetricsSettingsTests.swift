// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import NetworkModel
import Testing
import Values

/// Where the agent serves its figures.
@Suite struct FelixMetricsSettingsTests {
    private func felix(_ name: String, _ spec: JSON) -> KubeObject {
        KubeObject(["metadata": ["name": JSON(name)], "spec": spec])
    }

    @Test func nothingIsServedUnlessAskedFor() {
        let settings = FelixMetricsSettings(nil)
        #expect(!settings.isEnabled && settings.port == 9091 && settings.host.isEmpty && settings.hasProcessMetrics)
    }

    @Test func theNodesOwnAndTheEnvironmentComeBeforeTheDefault() {
        let general = felix("default", ["prometheusMetricsEnabled": true, "prometheusMetricsPort": 9100])
        #expect(FelixMetricsSettings(general).isEnabled && FelixMetricsSettings(general).port == 9100)
        let own = felix("node.a", ["prometheusMetricsEnabled": false, "prometheusMetricsHost": "127.0.0.1"])
        let both = FelixMetricsSettings(general, ofNode: own)
        #expect(!both.isEnabled && both.port == 9100 && both.host == "127.0.0.1")
        let all = FelixMetricsSettings(
            general, ofNode: own,
            environment: [
                "FELIX_PROMETHEUSMETRICSENABLED": "true", "Felix_PrometheusMetricsPort": "9200",
                "FELIX_PROMETHEUSPROCESSMETRICSENABLED": "0",
            ])
        #expect(all.isEnabled && all.port == 9200 && !all.hasProcessMetrics && all.problems.isEmpty)
    }

    @Test(arguments: [0, 70000, -1]) func aPortThatIsNoneIsNamed(_ port: Int) {
        let settings = FelixMetricsSettings(felix("default", ["prometheusMetricsPort": JSON(port)]))
        #expect(settings.port == 9091)
        #expect(settings.problems.first?.contains("spec.prometheusMetricsPort: \(port)") == true)
    }
}
