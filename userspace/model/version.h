/* version.h - the release this tree builds.
 * Used by: sluiced, sluicectl, events.
 * Promises: MAJOR.MINOR.PATCH. */
#ifndef SLUICE_MODEL_VERSION_H
#define SLUICE_MODEL_VERSION_H

#define SLUICE_VERSION "0.1.0"

#endif
