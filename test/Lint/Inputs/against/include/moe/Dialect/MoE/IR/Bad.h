// Includes a later stage.
#include "moe/Pipelines/Stages.h"
