# The rows of the tests that run in the kernel (`hosted.kern`): Kern has no data of other objects.

        .section .text
        .globl  test_rows
test_rows:                              # test_rows() -> the first row of kern_tests
        la      a0, kern_tests
        ret
