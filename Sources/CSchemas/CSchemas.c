// SPDX-License-Identifier: Apache-2.0
#include "CSchemas.h"

static const unsigned char resources[] = {
#embed "data/resources.jsonl"
};
static const unsigned char types[] = {
#embed "data/types.tsv"
};
static const unsigned char calico[] = {
#embed "data/calico.tsv"
};
static const unsigned char messages[] = {
#embed "data/messages.tsv"
};
static const unsigned char descriptions[] = {
#embed "data/descriptions.tsv"
};

struct catbird_data catbird_resources(void) { return (struct catbird_data){resources, sizeof resources}; }
struct catbird_data catbird_types(void) { return (struct catbird_data){types, sizeof types}; }
struct catbird_data catbird_calico(void) { return (struct catbird_data){calico, sizeof calico}; }
struct catbird_data catbird_messages(void) { return (struct catbird_data){messages, sizeof messages}; }
struct catbird_data catbird_descriptions(void) { return (struct catbird_data){descriptions, sizeof descriptions}; }
