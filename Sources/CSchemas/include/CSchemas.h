// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stddef.h>

/// A file of Sources/CSchemas/data, as it lies in the program. scripts/make-schemas writes the files, but for the
/// descriptions, which are written by hand.
struct catbird_data {
    const unsigned char *bytes;
    size_t length;
};

/// Resources: a JSON object a line.
struct catbird_data catbird_resources(void);
/// Types of Kubernetes' own kinds: a line is a name, a tab and JSON.
struct catbird_data catbird_types(void);
/// OpenAPI schemas of Calico's kinds, in the same form.
struct catbird_data catbird_calico(void);
/// Protobuf messages: wire number to name, type and flag, in the same form.
struct catbird_data catbird_messages(void);
/// What types and fields are for, in words: a line is a type, or a type and a field, a tab and text.
struct catbird_data catbird_descriptions(void);
