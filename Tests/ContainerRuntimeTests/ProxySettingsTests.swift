// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
@testable import ContainerRuntime
import Glibc
import NIOCore
import NIOPosix
import NIOSSL
import Testing

/// What the variables mean, as Go's programs read them, and errors of connections in words.
@Suite struct ProxySettingsTests {
    private static let environment = [
        "HTTPS_PROXY": "http://user:p%40ss@proxy.example:3128/", "http_proxy": "plain.example:8080",
        "NO_PROXY": "internal.example, .hidden.example,10.0.0.0/8,192.168.1.7,ports.example:5000,*.star.example",
    ]

    @Test(
        arguments: [
            ("https", "registry.example", "proxy.example:3128"),
            ("https", "registry.example:5000", "proxy.example:3128"),
            ("http", "registry.example", "plain.example:8080"), ("https", "internal.example", nil),
            ("https", "a.internal.example:443", nil), ("https", "INTERNAL.example.", nil),
            ("https", "otherinternal.example", "proxy.example:3128"), ("https", "hidden.example", "proxy.example:3128"),
            ("https", "a.hidden.example", nil), ("https", "star.example", "proxy.example:3128"),
            ("https", "a.star.example", nil), ("https", "10.9.8.7:5000", nil),
            ("https", "11.0.0.1", "proxy.example:3128"),
            ("https", "192.168.1.7", nil), ("https", "192.168.1.8", "proxy.example:3128"),
            ("https", "ports.example:5000", nil), ("https", "ports.example", "proxy.example:3128"),
            ("https", "localhost:5000", nil), ("http", "127.0.0.2:5000", nil), ("https", "[::1]:5000", nil),
        ] as [(String, String, String?)])
    func proxiesAreChosen(scheme: String, authority: String, proxy: String?) {
        let found = ProxySettings(environment: Self.environment).proxy(scheme: scheme, authority: authority)
        #expect(found.map { "\($0.host):\($0.port)" } == proxy)
    }

    @Test func namesAndSecretsOfAProxy() throws {
        let proxy = try #require(ProxySettings(environment: Self.environment).https)
        #expect(proxy.credentials == "user:p@ss")
        #expect(proxy.description == "http://proxy.example:3128 (HTTPS_PROXY)")
        #expect(ProxySettings(environment: ["https_proxy": "x:1", "HTTPS_PROXY": ""]).https?.variable == "https_proxy")
        #expect(ProxySettings(environment: ["HTTPS_PROXY": "socks5://s"]).https?.kind == .socks5)
        #expect(ProxySettings(environment: ["HTTPS_PROXY": "socks5://s"]).https?.port == 1080)
        #expect(ProxySettings(environment: ["HTTPS_PROXY": "https://s"]).https?.kind == .unsupported)
        #expect(ProxySettings(environment: ["HTTPS_PROXY": "http://:1"]).https?.kind == .unsupported)
        #expect(ProxySettings(environment: ["HTTPS_PROXY": "http://h:99999"]).https?.kind == .unsupported)
        #expect(ProxySettings(environment: [:]) == ProxySettings())
        let all = ProxySettings(environment: ["HTTP_PROXY": "p", "NO_PROXY": "*"])
        #expect(all.proxy(scheme: "http", authority: "anything") == nil)
    }

    @Test(arguments: [
        ("registry.example", "registry.example", true), ("registry.example", "registry.example:5000", true),
        ("registry.example:5000", "registry.example:5000", true), ("registry.example:5000", "registry.example", false),
        ("10.0.0.0/24", "10.0.0.9:5000", true), ("10.0.0.0/24", "10.0.1.9:5000", false), ("x", "localhost:1", true),
        ("x", "127.9.9.9", true), ("x", "[::1]:5000", true), ("x", "example", false),
    ])
    func insecureRegistriesAreHostsAndRanges(entry: String, host: String, isInsecure: Bool) {
        #expect(RegistrySettings(insecure: [entry]).isInsecure(host) == isInsecure)
        #expect(RegistrySettings.complaint(ofInsecure: entry) == nil)
    }

    @Test(arguments: ["http://registry.example", "10.0.0.0/33", "registry/path", "", "a b", "host:99999"])
    func whatIsNoRegistryIsToldSo(entry: String) {
        #expect(RegistrySettings.complaint(ofInsecure: entry) != nil)
    }

    @Test func layersMayComeSlowlyButNotForEver() {
        let pace = DownloadPace()
        #expect(!pace.isTooSlow(0, after: .seconds(119)))
        #expect(pace.isTooSlow(0, after: .seconds(121)))
        #expect(!pace.isTooSlow(4096 * 1000, after: .seconds(1100)))
        #expect(pace.isTooSlow(4096 * 1000, after: .seconds(1121)))
    }

    /// Every error that connecting, TLS or a proxy can end in is said in words; no library's name of it shows.
    @Test func errorsOfConnectionsAreWords() {
        let errors: [(any Error, ConnectionFailure.Kind)] = [
            (IOError(errnoCode: ECONNREFUSED, reason: "connect"), .refused),
            (IOError(errnoCode: ETIMEDOUT, reason: "connect"), .timedOut),
            (IOError(errnoCode: ENETUNREACH, reason: "connect"), .noRoute),
            (IOError(errnoCode: EHOSTUNREACH, reason: "connect"), .noRoute),
            (IOError(errnoCode: ECONNRESET, reason: "read"), .closed),
            (IOError(errnoCode: EACCES, reason: "connect"), .other),
            (ChannelError.connectTimeout(.seconds(1)), .timedOut), (ChannelError.ioOnClosedChannel, .closed),
            (HTTPClientError.connectTimeout, .timedOut), (HTTPClientError.tlsHandshakeTimeout, .timedOut),
            (HTTPClientError.readTimeout, .timedOut), (HTTPClientError.deadlineExceeded, .timedOut),
            (HTTPClientError.remoteConnectionClosed, .closed), (HTTPClientError.proxyAuthenticationRequired, .proxy),
            (HTTPClientError.invalidProxyResponse, .proxy), (HTTPClientError.httpProxyHandshakeTimeout, .proxy),
            (HTTPClientError.socksHandshakeTimeout, .proxy), (HTTPClientError.emptyHost, .other),
            (NIOSSLError.handshakeFailed(.sslError([.eofDuringHandshake])), .closed),
            (NIOSSLError.unableToValidateCertificate, .certificate),
            (NIOSSLExtraError.failedToValidateHostname, .certificate), (NIOSSLError.cannotMatchULabel, .tls),
        ]
        for (error, kind) in errors {
            let failure = ConnectionFailure(error)
            #expect(failure.kind == kind, "\(error)")
            for word in ["Error", "NIO", "SSL", "errno", "unknown("] {
                #expect(!failure.description.contains(word), "\(failure)")
            }
        }
    }

    @Test func addressesOfRegistriesAndWhereTheySend() throws {
        let url = try RegistryURL("HTTPS://r.example:5000/v2/a?b=c#d", image: "i")
        #expect(url.text == "https://r.example:5000/v2/a?b=c")
        #expect(try url.resolving("/x", image: "i").text == "https://r.example:5000/x")
        #expect(try url.resolving("x", image: "i").text == "https://r.example:5000/v2/x")
        #expect(try url.resolving("//o/x", image: "i").text == "https://o/x")
        #expect(try url.resolving("http://o", image: "i").text == "http://o/")
        for bad in ["ftp://r/", "r.example/x", "http:///x", "http://user@host/x", ""] {
            #expect(throws: ImageError.self) { _ = try RegistryURL(bad, image: "i") }
        }
    }
}
