// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Testing
import Values

/// What `kubectl explain` prints.
@Suite(.enabled(if: HTTPSFixture.kubectl != nil, "no kubectl on the PATH")) struct ExplainTests {
    @Test func everyFieldIsPrintedWithItsTypeAndWhatItIsFor() async throws {
        let fixture = try await HTTPSFixture()
        for (path, fields, words) in [
            ("pods", ["apiVersion\t<string>", "spec\t<PodSpec>"], "Containers that run together on one node"),
            (
                "pods.spec.containers", ["image\t<string>", "ports\t<[]ContainerPort>", "name\t<string> -required-"],
                "Image to run, such as"
            ),
            ("deployment.spec.strategy.rollingUpdate", ["maxSurge\t<IntOrString>"], "25% by default"),
            ("svc.spec.ports", ["nodePort\t<integer>", "port\t<integer> -required-"], "30000 to 32767"),
            ("netpol.spec.ingress.from", ["ipBlock\t<IPBlock>"], "Pods, by labels"),
            ("hpa.spec", ["maxReplicas\t<integer> -required-"], "The most pods"),
            ("crd.spec.versions", ["served\t<boolean> -required-"], "Whether the version is served"),
            ("pvc.spec", ["resources\t<VolumeResourceRequirements>"], "It can grow later"),
            ("ippools.spec", ["cidr\t<string>", "natOutgoing\t<boolean>"], "Cannot change."),
            ("globalnetworkpolicies.spec.ingress.source", ["nets\t<[]string>"], "as a selector"),
            ("scale", [], ""),
        ] where !words.isEmpty {
            let shown = try await fixture.kubectl("explain", path)
            #expect(shown.status == 0, "\(path): \(shown.errors)")
            for field in fields { #expect(shown.text.contains(field), "\(path): \(field)\n\(shown.text)") }
            let flowed = shown.text.split { $0 == " " || $0 == "\n" }.joined(separator: " ")
            #expect(flowed.contains(words), "\(path): \(words)\n\(shown.text)")
            #expect(!shown.text.contains("<no description>"), "\(path)\n\(shown.text)")
        }
        for kind in [
            "pods", "statefulsets", "cronjobs", "ingresses", "persistentvolumes", "resourceclaims",
            "felixconfigurations",
        ] {
            let shown = try await fixture.kubectl("explain", kind, "--recursive")
            #expect(shown.status == 0 && shown.text.contains("spec\t<"), "\(kind): \(shown.errors)")
        }
        await fixture.stop()
    }

    @Test func definitionsAreExplainedAsSoonAsTheyAreServed() async throws {
        let fixture = try await HTTPSFixture()
        let input = CustomResourceTests.definition().text()
        let made = try await fixture.kubectl("create", "-f", "-", input: input)
        #expect(made.status == 0, "\(made.errors)")
        let shown = try await fixture.kubectl("explain", "crontabs.spec")
        #expect(
            shown.status == 0 && shown.text.contains("cronSpec\t<string> -required-"), "\(shown.text)\(shown.errors)")
        // Clients look for how upstream's words for these begin.
        for (path, words) in [
            ("crontabs", ["APIVersion defines", "Kind is a string value", "Standard object's metadata"]),
            ("crontabs.metadata", ["Standard object's metadata", "CreationTimestamp is a timestamp"]),
        ] {
            let shown = try await fixture.kubectl("explain", path)
            let flowed = shown.text.split { $0 == " " || $0 == "\n" }.joined(separator: " ")
            for word in words { #expect(flowed.contains(word), "\(path): \(word)\n\(shown.text)") }
        }
        let refused = try await fixture.kubectl(
            "create", "-f", "-",
            input: #"{"apiVersion":"stable.example.com/v1","kind":"CronTab","metadata":{"name":"c"},"spec":{"bad":1}}"#)
        #expect(refused.status != 0 && refused.errors.contains("unknown field \"spec.bad\""), "\(refused.errors)")
        await fixture.stop()
    }
}
