# Thin doors; the chores themselves are in xtask/.

.PHONY: demo test bench lint

demo:  ; @cargo xtask demo
test:  ; @cargo xtask test
bench: ; @cargo xtask bench
lint:  ; @cargo xtask lint
