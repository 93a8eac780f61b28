// SPDX-License-Identifier: Apache-2.0

import KubeClient
import Values

/// Passes on what the API server warns of, as kubectl does: `Warning: ...` on standard error.
struct WarningTransport: APITransport {
    private let transport: any APITransport
    private let errors: @Sendable (String) -> Void

    init(_ transport: any APITransport, _ errors: @escaping @Sendable (String) -> Void) {
        self.transport = transport
        self.errors = errors
    }

    func send(_ request: APIRequest) async throws -> APIResponse {
        let response = try await transport.send(request)
        for (name, value) in response.headers where name.lowercased() == "warning" {
            if let text = Self.text(value) { errors("Warning: \(text)\n") }
        }
        return response
    }

    /// The quoted text of `299 - "text"` (RFC 9111, section 5.5).
    static func text(_ header: String) -> String? {
        guard let start = header.firstIndex(of: "\"") else { return nil }
        return (try? JSON(parsing: String(header[start...])))?.string
    }
}
