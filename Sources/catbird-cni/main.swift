// SPDX-License-Identifier: Apache-2.0

// The CNI plugin: passes each request on to the node's agent and prints its answer. It is started for every pod, so it
// does no more than that: no Foundation, no tasks, no name resolution, and all allocation and plumbing in the agent.

import CNIProtocol
import Glibc
import Values

let outcome = Plugin.run()
Output.write(outcome.output)
exit(outcome.isSuccess ? 0 : 1)
