// SPDX-License-Identifier: Apache-2.0

import KubeClient
package import KubeObjects
import PKI
package import Values

/// Deletes requests for certificates that nobody needs any more.
struct CertificateCleaner: Controller {
    let context: ControllerContext
    private let queue = WorkQueue<String>("certificate_cleaner")

    init(_ context: ControllerContext) { self.context = context }

    func register() {
        let queue = queue
        context.caches.certificateRequests.onChange { change in
            if let request = change.new { queue.add(request.name) }
        }
    }

    func run() async { await queue.run(workers: 1) { name in try await reconcile(name) } }

    private func reconcile(_ name: String) async throws {
        let requests = context.caches.certificateRequests
        guard let request = requests[ObjectKey(nil, name)], let end = CertificateRequestLife(request).end else {
            return
        }
        let left = end.seconds(since: .now)
        if left > 0 { return queue.addAfter(name, .seconds(left)) }
        try await requests.delete(request)
    }
}

/// How long a request for a certificate is kept.
package struct CertificateRequestLife {
    private static let decided = 3600.0
    private static let pending = 86400.0

    /// When it goes; nil when it does not say since when it is what it is.
    package let end: Timestamp?

    package init(_ request: KubeObject) {
        let conditions = request["status"]["conditions"].array ?? []
        var ends: [Timestamp] = []
        if conditions.isEmpty, let since = request.creationTimestamp {
            ends.append(since.adding(seconds: Self.pending))
        }
        for condition in conditions where ["Approved", "Denied", "Failed"].contains(condition["type"].string) {
            if let since = condition["lastUpdateTime"].string.flatMap({ Timestamp($0) }) {
                ends.append(since.adding(seconds: Self.decided))
            }
        }
        if let bytes = Base64.bytes(request.certificate), !bytes.isEmpty,
            let summary = try? CertificateSummary(pem: String(decoding: bytes, as: UTF8.self))
        {
            ends.append(summary.notAfter)
        }
        end = ends.min()
    }
}
