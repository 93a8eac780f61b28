// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Testing
import Values

@Suite struct StatusTests {
    @Test func notFoundNamesTheResource() {
        let error = StatusError.notFound(.deployments, name: "web")
        #expect(error.message == #"deployments.apps "web" not found"#)
        #expect(
            error.json == [
                "kind": "Status", "apiVersion": "v1", "metadata": [:], "status": "Failure",
                "message": #"deployments.apps "web" not found"#, "reason": "NotFound",
                "details": ["name": "web", "group": "apps", "kind": "deployments"], "code": 404,
            ])
    }

    @Test func invalidNamesTheKindAndListsCauses() throws {
        let pods = try #require(ResourceRegistry.shared.resource(.deployments))
        let one = StatusError.invalid(pods, name: "x", [.required("spec.selector")])
        #expect(one.message == #"Deployment.apps "x" is invalid: spec.selector: Required value"#)
        #expect(one.code == 422 && one.details["kind"] == "Deployment")
        #expect(
            one.details["causes"][0] == [
                "reason": "FieldValueRequired", "message": "Required value", "field": "spec.selector",
            ])
        let two = StatusError.invalid(pods, name: "x", [.required("a"), .invalid("b", 0, "must be more")])
        #expect(
            two.message == #"Deployment.apps "x" is invalid: [a: Required value, b: Invalid value: 0: must be more]"#)
    }

    @Test func otherMessages() {
        #expect(StatusError.alreadyExists(.pods, name: "a").message == #"pods "a" already exists"#)
        #expect(
            StatusError.staleVersion(.pods, name: "a").message
                == #"Operation cannot be fulfilled on pods "a": the object has been modified; please apply your changes to the latest version and try again"#
        )
        #expect(StatusError.tooOldResourceVersion("3", oldest: "10").message == "too old resource version: 3 (10)")
        #expect(StatusError.forbidden(.pods, name: "a", "no").message == #"pods "a" is forbidden: no"#)
        #expect(StatusError.expired("x", continue: "t").json["metadata"]["continue"] == "t")
        #expect(
            StatusError.success(.pods, name: "a", uid: "u")["details"] == ["name": "a", "kind": "pods", "uid": "u"])
    }

    @Test func fieldErrorTexts() {
        #expect(
            FieldError.notSupported("a.b", "X", ["A", "B"]).description
                == #"a.b: Unsupported value: "X": supported values: "A", "B""#)
        #expect(FieldError.duplicate("a", "x").description == #"a: Duplicate value: "x""#)
        #expect(FieldError.forbidden("a", "why").description == "a: Forbidden: why")
        #expect(
            FieldError(.tooLong, "a", value: "secret", detail: "may not be more than 3 bytes").description
                == "a: Too long: may not be more than 3 bytes")
    }
}
