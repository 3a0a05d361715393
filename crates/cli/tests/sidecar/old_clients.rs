//! Clients that speak HTTP/1.0.

use byname_test_support::{TestResult, raw_http1};

use crate::sidecar::loopback::{IN_SHOP, LISTENER, Loopback, MODES, on_this_machine};

#[tokio::test]
async fn http10_is_served_with_and_without_a_host() -> TestResult {
    let loopback = Loopback::start().await?;
    loopback.dump(IN_SHOP, &[])?;
    let none = "name_not_found";
    for by in MODES {
        let envoy = loopback.sidecar(&on_this_machine(by), &[], str::to_owned).await?;
        for (request, expected) in [
            ("GET / HTTP/1.0\r\nHost: payments\r\n\r\n", Ok("payments.shop")),
            ("GET / HTTP/1.0\r\nHost: pay:80\r\n\r\n", Ok("payments.shop")),
            ("GET / HTTP/1.0\r\nHost: payments.prod:8080\r\n\r\n", Ok("payments.prod")),
            ("GET http://db-0.db/ HTTP/1.0\r\n\r\n", Ok("db-0")),
            ("GET http://payments/ HTTP/1.0\r\nHost: db-0.db\r\n\r\n", Ok("payments.shop")),
            ("GET / HTTP/1.0\r\nHost: nobody\r\n\r\n", Err(none)),
            ("GET / HTTP/1.0\r\n\r\n", Err(none)),
            // Without a Host a newer request is malformed.
            ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", Err("")),
        ] {
            let answer = raw_http1(envoy.port(LISTENER), request.as_bytes()).await?;
            let row = format!("{by}, {request:?}: {answer}");
            match expected {
                Ok(upstream) => {
                    assert!(answer.starts_with("HTTP/1.0 200 ") || answer.starts_with("HTTP/1.1 200 "), "{row}");
                    assert!(answer.contains(&format!("\"upstream\":\"{upstream}\"")), "{row}");
                }
                Err("") => assert!(answer.starts_with("HTTP/1.1 400 "), "{row}"),
                Err(reason) => {
                    assert!(answer.contains(" 404 "), "{row}");
                    assert!(answer.contains(&format!("x-byname-reason: {reason}\r\n")), "{row}");
                }
            }
        }
    }
    Ok(())
}
