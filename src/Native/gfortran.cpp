// The one function of the Fortran runtime that OpenBLAS's LAPACK is left with: it joins the letters of two options. The static runtime
// is not position-independent and cannot go into a shared library.
#include <cstring>

extern "C" __attribute__((visibility("hidden"))) void _gfortran_concat_string(
    size_t length, char* joined, size_t left_length, const char* left, size_t right_length, const char* right) {
    // Fortran's rules: cut at the length of what is assigned to, blanks after what is shorter.
    std::memset(joined, ' ', length);
    size_t first = left_length < length ? left_length : length;
    std::memcpy(joined, left, first);
    std::memcpy(joined + first, right, right_length < length - first ? right_length : length - first);
}
