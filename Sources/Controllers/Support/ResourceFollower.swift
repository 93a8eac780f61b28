// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Logging

/// Lists and watches a resource for somebody who keeps little of its objects, or nothing.
struct ResourceFollower: Sendable {
    enum Event: Sendable {
        /// All there is, at the beginning and whenever changes may have been missed.
        case listed([KubeObject])
        case changed(KubeObject)
        case left(KubeObject)
    }

    let client: KubeClient
    let log: Logger

    /// Follows until cancelled, or until the resource is not served any more.
    func run(_ resource: GroupVersionResource, _ take: @Sendable (Event) -> Void) async {
        var backoff = Backoff()
        var version: String?
        while !Task.isCancelled {
            do {
                let start: String
                if let version {
                    start = version
                } else {
                    let list = try await client.list(resource)
                    take(.listed(list.items))
                    start = list.resourceVersion
                    version = start
                }
                for try await batch in try await client.watch(resource, resourceVersion: start) {
                    backoff.reset()
                    for event in batch {
                        switch event.type {
                        case .added, .modified: take(.changed(event.object))
                        case .deleted: take(.left(event.object))
                        default: break
                        }
                        if !event.object.resourceVersion.isEmpty { version = event.object.resourceVersion }
                    }
                }
            } catch let error as APIError where error.isNotFound {
                return
            } catch let error as APIError where error.isGone {
                version = nil
            } catch {
                log.debug("following \(resource): \(error)")
                version = nil
            }
            // Only between attempts: a watch that ended is started again at once, one that fails ever more slowly.
            try? await Task.sleep(for: backoff.next())
        }
    }
}
