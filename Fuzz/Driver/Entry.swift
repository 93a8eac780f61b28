// SPDX-License-Identifier: Apache-2.0

import Fuzzing

import Glibc

private let chosen = getenv("FUZZ_TARGET").map { String(cString: $0) }.flatMap { name in
    FuzzTarget.pure.first { $0.name == name }
}

/// libFuzzer brings `main` and calls this.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    FuzzTarget.runOneInput(chosen, start, count)
}
