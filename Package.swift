// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
import PackageDescription

/// `CATBIRD_ONLY=NetworkModel,NetworkModelTests swift build` plans these targets and what they import, and nothing
/// else: the quick loop for one room of the house (see CONTRIBUTING.md). Unset, everything is built.
let only: Set<String>? = Context.environment["CATBIRD_ONLY"].map { Set($0.split(separator: ",").map(String.init)) }

/// `CATBIRD_STRICT=1`, as CI builds: a warning is an error, and what only `make bench` and `make fuzz` run is compiled too.
let isStrict = Context.environment["CATBIRD_STRICT"] != nil

let settings: [SwiftSetting] =
    [
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableUpcomingFeature("InternalImportsByDefault"),
    ] + (isStrict ? [.treatAllWarnings(as: .error)] : [])

// Each target names what its files import, and nothing else (`scripts/check`): what is declared is built and linked.
let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let nioFoundationCompat: Target.Dependency = .product(name: "NIOFoundationCompat", package: "swift-nio")
let nioHTTP1: Target.Dependency = .product(name: "NIOHTTP1", package: "swift-nio")
let nioTLS: Target.Dependency = .product(name: "NIOTLS", package: "swift-nio")
let nioEmbedded: Target.Dependency = .product(name: "NIOEmbedded", package: "swift-nio")
let nioSSL: Target.Dependency = .product(name: "NIOSSL", package: "swift-nio-ssl")
let nioHTTP2: Target.Dependency = .product(name: "NIOHTTP2", package: "swift-nio-http2")
let nioHPACK: Target.Dependency = .product(name: "NIOHPACK", package: "swift-nio-http2")
let log: Target.Dependency = .product(name: "Logging", package: "swift-log")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let x509: Target.Dependency = .product(name: "X509", package: "swift-certificates")
let asn1: Target.Dependency = .product(name: "SwiftASN1", package: "swift-asn1")
let asyncHTTPClient: Target.Dependency = .product(name: "AsyncHTTPClient", package: "async-http-client")
let grdb: Target.Dependency = .product(name: "GRDB", package: "GRDB.swift")
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")
let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")

func library(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, path: "Sources/\(name)", swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies, path: "Tests/\(name)", swiftSettings: settings)
}

/// The plugin starts for every pod: it is fully static, and links neither Foundation nor NIO.
let pluginLinking: [LinkerSetting] = [
    .unsafeFlags(
        ["-static-executable", "-Xlinker", "-s", "-Xlinker", "--gc-sections"], .when(configuration: .release))
]

let allTargets: [Target] = [
    // C
    .target(name: "CLinux", path: "Sources/CLinux"),
    .target(
        name: "CSchemas", path: "Sources/CSchemas", exclude: ["data"], cSettings: [.unsafeFlags(["-std=gnu23"])]),
    .systemLibrary(name: "CNFTables", path: "Sources/CNFTables", pkgConfig: "libnftables"),
    .systemLibrary(name: "CArchive", path: "Sources/CArchive", pkgConfig: "libarchive"),
    .systemLibrary(name: "CZlib", path: "Sources/CZlib", pkgConfig: "zlib"),

    // Pure
    library("Values", []),
    library("CNIProtocol", ["Values"]),
    library("KubeObjects", ["Values", "CSchemas"]),
    library("NetworkModel", ["KubeObjects", "Values"]),

    // With I/O
    library("Coordination", []),
    library("Linux", ["Values", "CLinux", "CNFTables"]),
    library("Storage", ["Values", grdb, log]),
    library("YAMLCoding", ["Values", yams]),
    library("PKI", ["Values", crypto, x509, asn1]),
    library("HTTPServing", ["PKI", "Values", nioCore, nioPosix, nioHTTP1, nioTLS, nioSSL, nioHTTP2, nioHPACK, log]),
    library(
        "KubeClient",
        [
            "Coordination", "KubeObjects", "Values", "YAMLCoding", nioCore, nioFoundationCompat, nioHTTP1, nioSSL,
            asyncHTTPClient, log,
        ]),
    library("IPAM", ["KubeClient", "KubeObjects", "NetworkModel", "Linux", "Values", log]),
    library(
        "APIServer",
        [
            "Coordination", "Storage", "KubeObjects", "NetworkModel", "KubeClient", "HTTPServing", "PKI", "Values",
            "CZlib", "YAMLCoding", nioCore, nioHTTP1, log,
        ]),
    library(
        "Controllers", ["Coordination", "IPAM", "KubeClient", "KubeObjects", "NetworkModel", "PKI", "Values", log]),
    library("ClusterDNS", ["KubeClient", "KubeObjects", "Values", "HTTPServing", "Linux", nioCore, nioPosix, log]),
    library(
        "NetworkAgent",
        ["HTTPServing", "IPAM", "KubeClient", "KubeObjects", "NetworkModel", "CNIProtocol", "Linux", "Values", log]),
    library(
        "ContainerRuntime",
        [
            "Coordination", "Linux", "CNIProtocol", "Values", "CArchive", nioCore, nioPosix, nioFoundationCompat,
            nioHTTP1, nioSSL, crypto, asyncHTTPClient, log,
        ]),
    library(
        "Kubelet",
        [
            "ContainerRuntime", "KubeClient", "KubeObjects", "HTTPServing", "Linux", "NetworkModel", "Values", "CZlib",
            nioCore, nioPosix, nioHTTP1, nioSSL, crypto, log, asyncHTTPClient,
        ]),
    library("Manifests", ["KubeClient", "KubeObjects", "NetworkModel", "Values", "YAMLCoding", log]),
    library("Sessions", ["KubeClient", "Linux", "Values", "YAMLCoding"]),
    library(
        "Diagnosis",
        ["IPAM", "KubeClient", "KubeObjects", "Manifests", "NetworkModel", "PKI", "Sessions", "Values"]),
    library(
        "Calicoctl",
        ["IPAM", "KubeClient", "KubeObjects", "Linux", "NetworkModel", "Sessions", "Values", "YAMLCoding"]),
    library(
        "Composition",
        [
            "APIServer", "ContainerRuntime", "Controllers", "KubeClient", "KubeObjects", "Kubelet", "Linux",
            "Manifests", "NetworkAgent", "PKI", "Storage", "Values", log,
        ]),
    library(
        "LocalCluster",
        [
            "Composition", "ContainerRuntime", "Coordination", "Diagnosis", "HTTPServing", "KubeClient", "KubeObjects",
            "Linux", "NetworkAgent", "NetworkModel", "PKI", "Storage", "Values", "YAMLCoding", log, asyncHTTPClient,
            nioCore, nioHTTP1,
        ]),
    .executableTarget(
        name: "catbird",
        dependencies: [
            "LocalCluster", "Calicoctl", "Diagnosis", "Manifests", "ContainerRuntime", "NetworkAgent", "ClusterDNS",
            "KubeClient", "KubeObjects", "Linux", "Values", "YAMLCoding", "CLinux", log, argumentParser,
        ], path: "Sources/catbird", swiftSettings: settings),
    .executableTarget(
        name: "catbird-cni", dependencies: ["CNIProtocol", "Values", "CLinux"], path: "Sources/catbird-cni",
        swiftSettings: settings, linkerSettings: pluginLinking),

    // Parsers of bytes from outside, for libFuzzer and for `FuzzTests`, which replays what it found.
    .target(
        name: "Fuzzing", dependencies: ["CNIProtocol", "KubeObjects", "Linux", "NetworkModel", "Values", "YAMLCoding"],
        path: "Fuzz/Fuzzing", swiftSettings: settings),
    .target(
        name: "FuzzingServices",
        dependencies: [
            "Fuzzing", "APIServer", "ClusterDNS", "ContainerRuntime", "HTTPServing", "KubeClient", "KubeObjects",
            "Kubelet", "Linux", "PKI", "Storage", "Values", nioHTTP1, log,
        ],
        path: "Fuzz/FuzzingServices", swiftSettings: settings),

    // Tests mirror the targets.
    tests("FuzzTests", ["Fuzzing", "FuzzingServices", "Linux"]),
    tests("ValuesTests", ["Values"]),
    tests("YAMLCodingTests", ["YAMLCoding", "Values"]),
    tests("CNIProtocolTests", ["CNIProtocol", "Values"]),
    // Runs the plugin as it is built: with CATBIRD_ONLY also name catbird and catbird-cni.
    tests(
        "CNIConformanceTests",
        ["APIServer", "CNIProtocol", "KubeClient", "KubeObjects", "Linux", "PKI", "Storage", "Values"]),
    tests("KubeObjectsTests", ["KubeObjects", "Values"]),
    tests("NetworkModelTests", ["NetworkModel", "KubeObjects", "Values"]),
    tests("LinuxTests", ["Linux", "Values"]),
    tests("StorageTests", ["Storage"]),
    tests("PKITests", ["PKI", "Values"]),
    tests(
        "HTTPServingTests",
        ["HTTPServing", "PKI", "Values", nioCore, nioPosix, nioHTTP1, nioSSL, nioHTTP2, nioHPACK, nioEmbedded]),
    tests("KubeClientTests", ["KubeClient", "KubeObjects", "HTTPServing", "PKI", "Values", nioCore, nioHTTP1]),
    tests(
        "APIServerTests",
        [
            "APIServer", "APIServerTesting", "Storage", "KubeClient", "KubeObjects", "PKI", "HTTPServing", "Values",
            "CZlib", nioCore, nioPosix, nioHTTP1,
        ]),
    tests(
        "ControllersTests",
        [
            "Controllers", "APIServer", "APIServerTesting", "Storage", "KubeClient", "KubeObjects", "NetworkModel",
            "PKI", "Values",
        ]),
    tests(
        "ClusterDNSTests",
        ["ClusterDNS", "KubeClient", "KubeClientTesting", "KubeObjects", "Linux", "Values", nioCore, nioPosix, log]),
    // The store of a server that has been started once, for tests that start many.
    .target(
        name: "APIServerTesting", dependencies: ["APIServer", "PKI", "Storage"], path: "Tests/APIServerTesting",
        swiftSettings: settings),
    // An API server in memory, for tests of what writes to one.
    .target(
        name: "KubeClientTesting", dependencies: ["KubeClient", "KubeObjects", "Values"],
        path: "Tests/KubeClientTesting", swiftSettings: settings),
    tests(
        "IPAMTests", ["IPAM", "KubeClient", "KubeClientTesting", "KubeObjects", "NetworkModel", "Linux", "Values", log]),
    tests(
        "NetworkAgentTests",
        [
            "Calicoctl", "NetworkAgent", "NetworkModel", "CNIProtocol", "KubeClient", "KubeClientTesting",
            "KubeObjects", "Linux", "Values", log,
        ]),
    tests(
        "ContainerRuntimeTests",
        [
            "ContainerRuntime", "HTTPServing", "PKI", "Linux", "CNIProtocol", "Values", nioCore, nioPosix, nioSSL,
            asyncHTTPClient,
        ]),
    tests(
        "KubeletTests",
        [
            "Kubelet", "ContainerRuntime", "KubeClient", "KubeObjects", "HTTPServing", "PKI", "Linux", "Values",
            "APIServer", "Storage", nioCore, nioHTTP1, log,
        ]),
    tests(
        "CalicoctlTests",
        ["Calicoctl", "Diagnosis", "APIServer", "Linux", "Storage", "PKI", "KubeClient", "KubeObjects", "Values"]),
    tests("DiagnosisTests", ["Diagnosis", "KubeObjects", "PKI", "Values"]),
    tests(
        "ManifestsTests",
        [
            log, "Manifests", "APIServer", "APIServerTesting", "KubeClient", "KubeObjects", "PKI", "Values",
        ]),
    tests("LifecycleTests", ["Diagnosis", "KubeClient", "KubeObjects", "Linux", "LocalCluster", "PKI", "Values"]),
    tests(
        "LocalClusterTests",
        ["LocalCluster", "Diagnosis", "Linux", "PKI", "YAMLCoding", "Values", log]),
]

/// `make fuzz`: libFuzzer brings their `main`, so that they are no part of other builds, where they do not link.
let fuzzers: [Target] =
    Context.environment["CATBIRD_FUZZ"] == nil
    ? isStrict
        ? [
            .target(name: "fuzz-pure", dependencies: ["Fuzzing"], path: "Fuzz/Driver", swiftSettings: settings),
            .target(
                name: "fuzz-services", dependencies: ["Fuzzing", "FuzzingServices"], path: "Fuzz/ServicesDriver",
                swiftSettings: settings),
        ] : []
    : [
        .executableTarget(
            name: "fuzz-pure", dependencies: ["Fuzzing"], path: "Fuzz/Driver", swiftSettings: settings),
        .executableTarget(
            name: "fuzz-services", dependencies: ["Fuzzing", "FuzzingServices"], path: "Fuzz/ServicesDriver",
            swiftSettings: settings),
    ]

/// `make bench`: no part of other builds.
let benchmarks: [Target] =
    Context.environment["CATBIRD_BENCH"] == nil && !isStrict
    ? []
    : [
        .executableTarget(
            name: "catbird-bench",
            dependencies: [
                "APIServer", "CNIProtocol", "Controllers", "IPAM", "KubeClient", "KubeObjects", "Linux", "NetworkAgent",
                "NetworkModel", "PKI", "Storage", "Values", nioCore, nioPosix, nioSSL, nioHTTP2, nioHPACK, log,
            ], path: "Benchmarks/Addresses", swiftSettings: settings)
    ]

func closure(of roots: Set<String>, in allTargets: [Target]) -> Set<String> {
    var wanted = roots
    var grown = true
    while grown {
        grown = false
        for target in allTargets where wanted.contains(target.name) {
            for case .byNameItem(let name, _) in target.dependencies where wanted.insert(name).inserted { grown = true }
        }
    }
    return wanted
}

let everything = allTargets + fuzzers + benchmarks
let wanted = only.map { closure(of: $0, in: everything) }
let targets = everything.filter { wanted?.contains($0.name) ?? true }
let packages: [Package.Dependency] = [
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
    .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
    .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1"),
    .package(url: "https://github.com/apple/swift-asn1", from: "1.7.4"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
    .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
]

let package = Package(
    name: "catbird",
    dependencies: packages,
    targets: targets,
    swiftLanguageModes: [.v6]
)
