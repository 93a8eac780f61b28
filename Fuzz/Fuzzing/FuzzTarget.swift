// SPDX-License-Identifier: Apache-2.0

/// A parser of bytes from outside, under a name. It must take any bytes: refusing them is right, trapping is not.
public struct FuzzTarget: Sendable, CustomStringConvertible {
    /// The name of its folder in `Fuzz/Corpus`.
    public let name: String
    public let run: @Sendable ([UInt8]) -> Void

    public init(_ name: String, _ run: @escaping @Sendable ([UInt8]) -> Void) {
        self.name = name
        self.run = run
    }

    /// For parsers of text: bytes that are no UTF-8 are mended first, as their callers do.
    public init(text name: String, _ run: @escaping @Sendable (String) -> Void) {
        self.init(name) { run(String(decoding: $0, as: UTF8.self)) }
    }

    public var description: String { name }

    /// What libFuzzer calls: runs the target that `FUZZ_TARGET` names.
    public static func runOneInput(_ chosen: FuzzTarget?, _ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
        chosen?.run(Array(UnsafeBufferPointer(start: start, count: count)))
        return chosen == nil ? -1 : 0
    }
}
