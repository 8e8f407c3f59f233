//! Registration, login, and bringing personas up to date.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use events::testing::sample_time;
use events::{Ids, SystemIds, UserId};
use identity::{AccountKind, IdentityError, PersonaAccount, Registration, Role, SpaceRole, SpaceType, Tier};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use crate::room::{Room, password, person, persona};

#[tokio::test]
async fn registering_makes_the_account_its_personal_space_and_its_vault() {
    let room = Room::open().await;
    let account = room
        .identity
        .register(Registration {
            email: "  Anna@Example.TEST ".to_owned(),
            name: None,
            role: Role::Admin,
            tier: Tier::Pro,
            ..person("Anna")
        })
        .await
        .unwrap();
    assert_eq!(account.email, "anna@example.test");
    assert_eq!(account.name, "anna");
    assert_eq!(
        (account.kind, account.role, account.tier),
        (AccountKind::Human, Role::Admin, Tier::Pro)
    );
    assert_eq!(account.time_zone, "UTC");
    assert_eq!(account.created_at, sample_time());
    assert_eq!(
        room.identity.account(&account.id).await.unwrap(),
        Some(account.clone())
    );
    assert_eq!(
        room.identity.account_by_email("ANNA@example.test").await.unwrap(),
        Some(account.clone())
    );

    let spaces = room.identity.spaces_of(&account.id).await.unwrap();
    let [personal] = &spaces[..] else {
        panic!("one space, not {spaces:?}")
    };
    assert_eq!(
        (personal.space_type, personal.role),
        (SpaceType::Personal, SpaceRole::Owner)
    );
    assert!(personal.slug.starts_with("anna-"), "{}", personal.slug);
    assert_eq!(
        room.identity.personal_space(&account.id).await.unwrap(),
        personal.space_id
    );
    assert_eq!(
        room.identity
            .vault_status(&account.id)
            .await
            .unwrap()
            .unwrap()
            .format_version,
        1
    );
}

#[tokio::test]
async fn an_email_is_taken_in_whatever_case_it_is_written() {
    let room = Room::open().await;
    room.person("Anna").await;
    let again = Registration {
        email: "ANNA@EXAMPLE.TEST".to_owned(),
        ..person("Other")
    };
    let error = room.identity.register(again).await.unwrap_err();
    assert!(matches!(error, IdentityError::EmailTaken), "{error}");
    assert_eq!(
        room.identity
            .account_by_email("anna@example.test")
            .await
            .unwrap()
            .unwrap()
            .name,
        "Anna"
    );
}

#[tokio::test]
async fn of_many_who_register_one_email_at_once_one_gets_it() {
    let room = Room::open().await;
    let outcomes = futures::future::join_all((0..8).map(|_| room.identity.register(person("Anna")))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let taken = |outcome: &&Result<_, _>| matches!(outcome, Err(IdentityError::EmailTaken));
    assert_eq!(outcomes.iter().filter(taken).count(), 7);
}

#[tokio::test]
async fn each_bad_field_is_refused_by_name_and_nothing_is_written() {
    let room = Room::open().await;
    let good = || person("Anna");
    let text = |length: usize| "x".repeat(length);
    let mut cases = Vec::new();
    for email in [
        "",
        "anna",
        "@example.test",
        "anna@",
        "anna@host",
        "a b@example.test",
        "a@b@example.test",
        "a@.test",
        "a@example.",
        "a\n@example.test",
    ] {
        cases.push((
            "email",
            Registration {
                email: email.to_owned(),
                ..good()
            },
        ));
    }
    cases.push((
        "email",
        Registration {
            email: format!("{}@example.test", text(65)),
            ..good()
        },
    ));
    cases.push((
        "email",
        Registration {
            email: format!("a@{}.test", text(260)),
            ..good()
        },
    ));
    for password in ["", "1234567", &text(257)] {
        cases.push((
            "password",
            Registration {
                password: SecretString::from(password),
                ..good()
            },
        ));
    }
    for name in ["", "   ", "two\nlines", &text(201)] {
        cases.push((
            "name",
            Registration {
                name: Some(name.to_owned()),
                ..good()
            },
        ));
    }
    for zone in ["", "Berlin", "Europe/Nowhere", "../../etc/passwd"] {
        cases.push((
            "timeZone",
            Registration {
                time_zone: Some(zone.to_owned()),
                ..good()
            },
        ));
    }
    for (wanted, registration) in cases {
        let shown = format!("{registration:?}");
        match room.identity.register(registration).await {
            Err(IdentityError::InvalidField { field, .. }) => assert_eq!(field, wanted, "{shown}"),
            other => panic!("{shown}: {other:?}"),
        }
    }
    let users: i64 = sqlx::query_scalar("SELECT count(*) FROM users")
        .fetch_one(&mut room.place.sql().await)
        .await
        .unwrap();
    assert_eq!(users, 0);
}

#[tokio::test]
async fn the_longest_and_shortest_passwords_work_and_are_compared_whole() {
    let room = Room::open().await;
    for (name, password) in [("Short", "12345678".to_owned()), ("Long", "ü".repeat(256))] {
        let registration = Registration {
            password: SecretString::from(password.clone()),
            ..person(name)
        };
        let account = room.identity.register(registration).await.unwrap();
        assert!(
            room.identity
                .login(&account.email, &SecretString::from(password.clone()))
                .await
                .is_ok()
        );
        let mut cut = password;
        cut.pop();
        let outcome = room
            .identity
            .login(&account.email, &SecretString::from(cut))
            .await;
        assert!(matches!(outcome, Err(IdentityError::BadCredentials)), "{name}");
    }
}

/// Ids that repeat themselves when told to.
#[derive(Debug, Default)]
struct RepeatingIds(Mutex<Option<Uuid>>);

impl Ids for RepeatingIds {
    fn uuid(&self) -> Uuid {
        self.0.lock().unwrap().unwrap_or_else(|| SystemIds.uuid())
    }

    fn fill(&self, bytes: &mut [u8]) {
        SystemIds.fill(bytes);
    }
}

#[tokio::test]
async fn a_registration_that_breaks_off_halfway_leaves_nothing() {
    let ids = Arc::new(RepeatingIds::default());
    let room = Room::open_with(ids.clone()).await;
    let taken = room.person("Anna").await;
    // Ben's user row goes in; then his personal space has the id of Anna's.
    let space = room.identity.personal_space(&taken.id).await.unwrap();
    *ids.0.lock().unwrap() = Some(space.as_str().parse().unwrap());
    let error = room.identity.register(person("Ben")).await.unwrap_err();
    assert!(matches!(error, IdentityError::Database(_)), "{error}");
    assert_eq!(
        room.identity.account_by_email("ben@example.test").await.unwrap(),
        None
    );
    *ids.0.lock().unwrap() = None;
    room.person("Ben").await;
}

#[tokio::test]
async fn login_answers_a_token_that_speaks_for_the_account() {
    let room = Room::open().await;
    let anna = room.person("Anna").await;
    let login = room
        .identity
        .login("ANNA@example.test", &password())
        .await
        .unwrap();
    assert_eq!(login.account, anna);
    let caller = room
        .identity
        .authenticate(login.token.expose_secret())
        .await
        .unwrap();
    assert_eq!(caller.user_id, anna.id);
    assert_eq!((caller.email, caller.time_zone), (anna.email, anna.time_zone));
    assert_eq!(
        (caller.kind, caller.role, caller.tier),
        (anna.kind, anna.role, anna.tier)
    );
    assert_eq!(
        (caller.issuer.as_str(), caller.expires_at),
        ("https://dramatis.test", login.expires_at)
    );
    assert!(!format!("{login:?}").contains(login.token.expose_secret()));
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_email_cannot_be_told_apart() {
    let room = Room::open().await;
    room.person("Anna").await;
    room.person("Ben").await;
    let mut answers = HashSet::new();
    for email in ["anna@example.test", "nobody@example.test", "", "not an email"] {
        let error = room
            .identity
            .login(email, &SecretString::from("wrong password"))
            .await
            .unwrap_err();
        assert!(matches!(error, IdentityError::BadCredentials), "{email}: {error}");
        answers.insert(error.to_string());
    }
    assert_eq!(answers.len(), 1);
}

#[tokio::test]
async fn minting_for_nobody_is_refused() {
    let room = Room::open().await;
    let outcome = room.identity.mint(&UserId::derived(&["nobody"])).await;
    assert!(matches!(outcome, Err(IdentityError::NotFound)));
}

#[tokio::test]
async fn a_new_role_counts_for_the_token_one_has() {
    let room = Room::open().await;
    let anna = room.person("Anna").await;
    let token = room.token(&anna).await;
    assert_eq!(room.identity.authenticate(&token).await.unwrap().role, Role::User);
    room.identity.set_role(&anna.id, Role::Admin).await.unwrap();
    assert_eq!(
        room.identity.authenticate(&token).await.unwrap().role,
        Role::Admin
    );
    let nobody = UserId::derived(&["nobody"]);
    assert!(matches!(
        room.identity.set_role(&nobody, Role::Admin).await,
        Err(IdentityError::NotFound)
    ));
}

#[tokio::test]
async fn a_persona_upserted_twice_is_one_account_with_the_latest_name_zone_and_password() {
    let room = Room::open().await;
    let first = room.identity.upsert_persona(persona("Anna")).await.unwrap();
    assert!(first.created);
    assert_eq!(first.account.kind, AccountKind::Persona);
    let key = room.identity.vault_key(&first.account.id).await.unwrap().key;
    let token = room.token(&first.account).await;
    room.identity.authenticate(&token).await.unwrap();

    let changed = PersonaAccount {
        name: "Anna Blume".to_owned(),
        password: SecretString::from("another password"),
        time_zone: Some("Asia/Tokyo".to_owned()),
        ..persona("Anna")
    };
    let second = room.identity.upsert_persona(changed).await.unwrap();
    assert!(!second.created);
    assert_eq!(second.account.id, first.account.id);
    assert_eq!(second.account.name, "Anna Blume");
    assert_eq!(
        room.identity.authenticate(&token).await.unwrap().time_zone,
        "Asia/Tokyo"
    );
    assert!(
        room.identity
            .login(&second.account.email, &password())
            .await
            .is_err()
    );
    assert!(
        room.identity
            .login(&second.account.email, &SecretString::from("another password"))
            .await
            .is_ok()
    );
    assert_eq!(room.identity.spaces_of(&first.account.id).await.unwrap().len(), 1);
    assert_eq!(room.identity.vault_key(&first.account.id).await.unwrap().key, key);

    let silent = PersonaAccount {
        time_zone: None,
        ..persona("Anna")
    };
    let third = room.identity.upsert_persona(silent).await.unwrap();
    assert_eq!(
        third.account.time_zone, "Asia/Tokyo",
        "a zone that is not mentioned stays"
    );
    assert_eq!(
        room.identity.account(&third.account.id).await.unwrap(),
        Some(third.account)
    );
}

#[tokio::test]
async fn many_upserts_of_one_persona_at_once_make_one_account() {
    let room = Room::open().await;
    let outcomes =
        futures::future::join_all((0..8).map(|_| room.identity.upsert_persona(persona("Anna")))).await;
    let outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(outcomes.iter().filter(|upserted| upserted.created).count(), 1);
    assert_eq!(
        outcomes
            .iter()
            .map(|upserted| &upserted.account.id)
            .collect::<HashSet<_>>()
            .len(),
        1
    );
}

#[tokio::test]
async fn an_upsert_over_a_persons_account_is_refused_and_leaves_it_as_it_is() {
    let room = Room::open().await;
    let human = room.person("Anna").await;
    let takeover = PersonaAccount {
        email: human.email.clone(),
        password: SecretString::from("taken over!"),
        ..persona("Imposter")
    };
    let error = room.identity.upsert_persona(takeover).await.unwrap_err();
    assert!(matches!(error, IdentityError::NotAPersona), "{error}");
    assert_eq!(
        room.identity.account(&human.id).await.unwrap(),
        Some(human.clone())
    );
    assert!(room.identity.login(&human.email, &password()).await.is_ok());
    assert!(
        room.identity
            .login(&human.email, &SecretString::from("taken over!"))
            .await
            .is_err()
    );
}
