/* Read before every C file (.cargo/config.toml), and meant for librdkafka's alone: what it takes from malloc is filled with zeros.
 *
 * A broker that names no leader for some of a topic's partitions (it has just come back from a crash) makes librdkafka 2.12.1 count entries that it
 * never fills, and use whatever they hold as an index (https://github.com/confluentinc/librdkafka/issues/5280): a segmentation fault, now and then.
 * Zeroed, such an entry does no harm (ADR 0027). To be removed with a release that has the fix.
 */
#if !defined(__ASSEMBLER__) && !defined(__cplusplus) && defined(__has_include)
#if __has_include("rdkafka_int.h")
/* As the client does. */
#define _GNU_SOURCE
#include <stdlib.h>
#define malloc(size) calloc(1, size)
#endif
#endif
