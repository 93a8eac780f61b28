// SPDX-License-Identifier: Apache-2.0

import Glibc
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
            // Streams of HTTP/2 have no options.
            if self is any SocketOptionProvider {
                try? self.syncOptions?.setOption(.allowRemoteHalfClosure, value: false)
            }
            self.close(promise: promise)
        }
    }

    /// Ends the connection with a reset: what the peer does not take is not kept for it, here or in the kernel.
    ///
    /// NIOSSL first tries to say goodbye, and gives up after five seconds.
    func tearDown() {
        eventLoop.execute {
            if let options = self as? any SocketOptionProvider {
                _ = options.setSoLinger(linger(l_onoff: 1, l_linger: 0))
            }
            self.startClosing()
        }
    }
}
