// SPDX-License-Identifier: Apache-2.0

/// A way to an API server in this process, which can hand out its objects themselves: collections are then neither
/// written down by one side nor read again by the other, and all who watch the same share what they are told.
public protocol LocalTransport: APITransport {
    /// A list: the objects as ``KubeClient/list(_:in:labelSelector:fieldSelector:resourceVersion:limit:continueToken:)``
    /// returns them. Throws ``APIError`` when the server refuses.
    func list(_ request: APIRequest) async throws -> ObjectList

    /// A watch: its events in batches, pulled by the reader. Throws ``APIError`` when the server refuses; dropping the
    /// stream or cancelling its reader ends the watch.
    func watch(_ request: APIRequest) async throws -> AsyncThrowingStream<[WatchEvent], any Error>
}
