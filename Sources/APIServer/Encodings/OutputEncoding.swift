// SPDX-License-Identifier: Apache-2.0

/// How an answer is written.
enum OutputEncoding: String, Sendable, Hashable {
    case json = "application/json"
    case yaml = "application/yaml"
    case protobuf = "application/vnd.kubernetes.protobuf"
}
