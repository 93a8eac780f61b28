// SPDX-License-Identifier: Apache-2.0

package import Values

/// Resources that are nobody's but those who name them: `example.com/dongle`.
package enum ExtendedResources {
    /// A name with a domain that is not Kubernetes' own, and that asks for nothing.
    package static func isExtended(_ name: String) -> Bool {
        name.contains("/") && !name.contains("kubernetes.io/") && !name.hasPrefix("requests.")
    }

    package static func of(_ amounts: JSON?) -> [String: JSON] {
        Dictionary((amounts.object ?? [:]).filter { isExtended($0.key) }.map { ($0.key, $0.value) }) { $1 }
    }

    /// Whether what pods may use of them is not what there is.
    package static func areUnequal(_ status: JSON?) -> Bool { of(status["capacity"]) != of(status["allocatable"]) }
}
