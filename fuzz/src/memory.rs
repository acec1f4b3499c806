//! What reading an input may take in memory, checked by the allocator.

use std::alloc::System;

use cap::Cap;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// Bytes that any file may take besides its own: somewhat more than `budget::FREE` and `pth::FREE` of batchnorm-model, for what is in
/// neither of the two, such as buffers for reading.
const FREE: usize = 64 << 20;
/// How often a file's own bytes may be there: the file itself, and a few copies of its tensors.
const COPIES: usize = 4;

/// Makes room for the words of a panic: where it happened takes some megabytes to find out. Each target begins with this.
pub fn make_room_for_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        MEMORY.set_limit(usize::MAX).expect("no limit");
        before(panic);
    }));
}

/// Does something with a file of so many bytes. Where that takes more memory than a file of this size should, the program ends with
/// `memory allocation of ... bytes failed`, and libFuzzer keeps the input. (Where it happened a debugger tells, at the abort.)
pub fn limited(file: usize, work: impl FnOnce()) {
    let limit = MEMORY.allocated() + FREE + COPIES * file;
    MEMORY.set_limit(limit).expect("a limit above what is allocated");
    work();
    MEMORY.set_limit(usize::MAX).expect("no limit");
}
