//! A static program for containers of this crate's tests: `probe VERB ARGUMENTS…`.

use std::io::{Read, Write};
use std::process::exit;
use std::time::Duration;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["exit", code] => exit(code.parse().unwrap_or(99)),
        ["say", out, err] => {
            print!("{out}");
            let _ = std::io::stdout().flush();
            eprint!("{err}");
        }
        ["cat"] => {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::stdout());
        }
        ["count"] => {
            let mut bytes = Vec::new();
            let _ = std::io::stdin().read_to_end(&mut bytes);
            println!("{}", bytes.len());
        }
        ["sleep", seconds] => std::thread::sleep(Duration::from_secs(seconds.parse().unwrap_or(1))),
        ["spew", megabytes] => spew(megabytes.parse().unwrap_or(1)),
        ["number", count] => {
            // In pieces, so that there is more than one read.
            for n in 1..=count.parse().unwrap_or(1_u32) {
                println!("{n:079}");
                if n % 400 == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
        ["orphan"] => {
            // A grandchild that keeps stdout for longer than anybody should wait.
            let _ = std::process::Command::new("/probe").args(["sleep", "600"]).spawn();
            println!("left");
        }
        ["terminal"] => {
            let size = rustix::termios::tcgetwinsize(std::io::stdout());
            println!("{:?}", size.map(|s| (s.ws_col, s.ws_row)).ok());
            std::thread::sleep(Duration::from_secs(600));
        }
        ["eat", megabytes] => {
            let mut eaten: Vec<Vec<u8>> = Vec::new();
            for _ in 0..megabytes.parse().unwrap_or(1) {
                eaten.push(vec![1; 1 << 20]);
            }
            println!("{}", eaten.len());
        }
        _ => exit(98),
    }
}

/// Lines of 80 bytes.
fn spew(megabytes: usize) {
    let mut line = [b'x'; 80];
    line[79] = b'\n';
    let block: Vec<u8> = line.iter().copied().cycle().take(80 * 800).collect();
    let mut out = std::io::stdout();
    let mut left = megabytes * 1_000_000;
    while left > 0 {
        let n = left.min(block.len());
        if out.write_all(&block[..n]).is_err() {
            exit(1);
        }
        left -= n;
    }
}
