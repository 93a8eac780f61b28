// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Storage
import Values

/// Looks at what a stopped cluster is made of, before anything of it is started: each file that is missing or damaged is
/// named, with what can be done.
struct ProfileVerification: Sendable {
    let paths: ProfilePaths
    /// To go on with what is readable of a damaged log.
    let acceptsLoss: Bool

    /// - Returns: what is to be told although the cluster can start.
    func run() throws -> [String] {
        let store = StoreFile(path: paths.database)
        // An administrator's certificate is made when the API has answered for the first time.
        let hasBeenUp = Files.exists("\(paths.pki)/admin.crt") || ProfileBackup(paths: paths).summary != nil
        guard store.exists else {
            if hasBeenUp { throw error("\(paths.database) is missing or empty: it holds the cluster's objects") }
            return []
        }
        do {
            return [try store.examine(acceptingLoss: acceptsLoss).remark].compactMap { $0 }
        } catch let damage as StoreDamage {
            throw error("\(damage)", goesOn: damage.isUsable)
        } catch {
            // A control plane that has lost its supervisor has it open: then it is well.
            if ProcessRecord.running(at: paths.pidFile("controlplane")) != nil { return [] }
            throw error
        }
    }

    /// Keys and certificates; those that the authority can make anew are.
    func keys(of profile: Profile) throws -> (pki: ProfilePKI, remarks: [String]) {
        do {
            let pki = try ProfilePKI(paths: paths)
            return (pki, try pki.renew(profile))
        } catch let damage as ProfilePKI.Damage {
            throw error("\(damage)")
        }
    }

    private func error(_ what: String, goesOn: Bool = false) -> LocalClusterError {
        var steps: [String] = []
        if let backup = ProfileBackup(paths: paths).summary {
            steps.append("to go back to the backup \(backup): catbird start -p \(paths.profile) --restore-backup")
        }
        if goesOn { steps.append("to go on without what is lost: catbird start -p \(paths.profile) --accept-loss") }
        steps.append(
            "to make the cluster anew: catbird delete -p \(paths.profile) && catbird start -p \(paths.profile)")
        return LocalClusterError(
            .guestError, "\(what).",
            nextStep: "Put the file back, if you have it; or " + steps.joined(separator: "; or "))
    }
}
