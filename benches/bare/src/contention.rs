//! Whether further threads have cores of their own. What a virtual machine says of its processor may be wrong, so this is
//! measured: two threads of one core that are bound by arithmetic take turns, two cores do not.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use crate::placement;

/// The same arithmetic by one thread and by several at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contention {
    /// How many at once.
    pub threads: usize,
    /// Milliseconds of one thread alone.
    pub alone: f64,
    /// Milliseconds until the last of them has ended.
    pub together: f64,
}

impl Contention {
    /// 1 where threads do not hold each other up; 2 where two share what one takes alone.
    pub fn ratio(&self) -> f64 {
        self.together / self.alone
    }

    /// In words, with the figure.
    pub fn verdict(&self) -> String {
        let (threads, ratio) = (self.threads, self.ratio());
        let verdict = match ratio {
            _ if threads == 1 => return "one thread".to_owned(),
            ..1.2 => "each is a core",
            1.7.. => "siblings of one core, or fewer processors than threads",
            _ => "neither cores of their own nor plain siblings, or the machine is not idle",
        };
        format!("{threads} threads at once took {ratio:.2} times the time of one: {verdict}")
    }
}

/// Multiplications of a chain in a round: a millisecond or two.
const STEPS: u32 = 1_000_000;
/// Rounds, of which the fastest counts: whatever else runs only slows them down.
const ROUNDS: usize = 10;

/// Measures for so many threads, each bound to one of the caller's processors, in some hundredths of a second.
pub fn second_thread(threads: usize) -> Contention {
    let processors = placement::processors();
    let fastest = |threads: usize| {
        let (ready, done) = (Barrier::new(threads), Barrier::new(threads));
        let rounds = |place: usize| {
            placement::bind(&processors, place);
            (0..ROUNDS).fold(f64::INFINITY, |fastest, _| {
                // From before the start, for on one processor the second begins when the first is through.
                let start = Instant::now();
                ready.wait();
                arithmetic();
                done.wait();
                fastest.min(start.elapsed().as_secs_f64() * 1e3)
            })
        };
        // (In threads of their own, so that the caller stays unbound.)
        let rounds = &rounds;
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..threads).map(|place| scope.spawn(move || rounds(place))).collect();
            all.into_iter().map(|thread| thread.join().expect("it only multiplies")).fold(0.0, f64::max)
        })
    };
    let threads = threads.max(1);
    let (alone, together) = (fastest(1), fastest(threads));
    Contention { threads, alone, together }
}

/// Chains that wait for nothing but the multiplier: more of them than it has stages.
fn arithmetic() {
    let factor = black_box(6_364_136_223_846_793_005u64);
    let mut chains: [u64; 12] = std::array::from_fn(|chain| black_box(chain as u64));
    for _ in 0..STEPS {
        for chain in &mut chains {
            *chain = chain.wrapping_mul(factor).wrapping_add(1);
        }
    }
    black_box(chains);
}

/// Threads a core, as the system says: of the first processor. `None` where it does not.
pub fn threads_a_core() -> Option<usize> {
    let list = std::fs::read_to_string("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list").ok()?;
    list.trim().split(',').try_fold(0, |all, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(all + last.parse::<usize>().ok()?.checked_sub(first.parse().ok()?)? + 1)
    })
}
