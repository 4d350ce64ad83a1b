module swapyard/bench

go 1.21
