// SPDX-License-Identifier: Apache-2.0

import NIOCore

extension Channel {
    /// Closes both directions and waits for it.
    func closeFully() async {
        let promise = eventLoop.makePromise(of: Void.self)
        startClosing(promise)
        try? await promise.futureResult.get()
    }

    /// Begins to close both directions.
    ///
    /// While half-closure is allowed, NIOSSL takes the peer's close_notify for the end of the peer's side only, even when
    /// it is itself closing, and then waits five seconds for what has come already. So half-closure ends here.
    func startClosing(_ promise: EventLoopPromise<Void>? = nil) {
        eventLoop.execute {
            try? self.syncOptions?.setOption(.allowRemoteHalfClosure, value: false)
            self.close(promise: promise)
        }
    }
}
