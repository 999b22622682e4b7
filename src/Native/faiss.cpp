// The FAISS C API's names over libfaiss.
#include <faiss/Index.h>
